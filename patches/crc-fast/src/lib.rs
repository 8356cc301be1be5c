//! The part of `crc-fast` that S3's client uses, on `crc32fast` and `crc`.
//!
//! `crc-fast` brings look-up tables of fifty algorithms, chosen at run time, so that none can be left out when a program is linked: 0.7 MB that hardly
//! compress in each function that speaks with S3. S3 knows three of them. (Source: AWS, "Checking object integrity for data uploads in Amazon
//! S3".) What is asked for beyond them does not compile.

use crc::{CRC_32_ISCSI, CRC_64_NVME, Crc, Table};

static CRC32C: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISCSI);
static CRC64NVME: Crc<u64, Table<1>> = Crc::<u64, Table<1>>::new(&CRC_64_NVME);

/// The algorithms, by the names of the catalogue of parametrised CRC algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrcAlgorithm {
    /// S3's `CRC32`.
    Crc32IsoHdlc,
    /// S3's `CRC32C`.
    Crc32Iscsi,
    /// S3's `CRC64NVME`.
    Crc64Nvme,
}

/// A checksum of what was given so far.
#[derive(Clone)]
pub struct Digest(State);

#[derive(Clone)]
enum State {
    Crc32IsoHdlc(crc32fast::Hasher),
    Crc32Iscsi(crc::Digest<'static, u32, Table<1>>),
    Crc64Nvme(crc::Digest<'static, u64, Table<1>>),
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Digest")
    }
}

impl Digest {
    /// Of nothing yet.
    pub fn new(algorithm: CrcAlgorithm) -> Self {
        Self(match algorithm {
            CrcAlgorithm::Crc32IsoHdlc => State::Crc32IsoHdlc(crc32fast::Hasher::new()),
            CrcAlgorithm::Crc32Iscsi => State::Crc32Iscsi(CRC32C.digest()),
            CrcAlgorithm::Crc64Nvme => State::Crc64Nvme(CRC64NVME.digest()),
        })
    }

    /// Of these bytes, too.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Crc32IsoHdlc(digest) => digest.update(bytes),
            State::Crc32Iscsi(digest) => digest.update(bytes),
            State::Crc64Nvme(digest) => digest.update(bytes),
        }
    }

    /// The checksum, in the lower 32 bits where it has no more.
    pub fn finalize(self) -> u64 {
        match self.0 {
            State::Crc32IsoHdlc(digest) => digest.finalize().into(),
            State::Crc32Iscsi(digest) => digest.finalize().into(),
            State::Crc64Nvme(digest) => digest.finalize(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checksum(algorithm: CrcAlgorithm, parts: &[&[u8]]) -> u64 {
        let mut digest = Digest::new(algorithm);
        for part in parts {
            digest.update(part);
        }
        digest.finalize()
    }

    /// The catalogue's check values: the checksums of "123456789".
    #[test]
    fn the_checksums_are_those_of_the_catalogue_in_however_many_parts() {
        for (algorithm, check) in [
            (CrcAlgorithm::Crc32IsoHdlc, 0xcbf4_3926),
            (CrcAlgorithm::Crc32Iscsi, 0xe306_9283),
            (CrcAlgorithm::Crc64Nvme, 0xae8b_1486_0a79_9888),
        ] {
            assert_eq!(checksum(algorithm, &[b"123456789"]), check, "{algorithm:?}");
            assert_eq!(checksum(algorithm, &[b"1", b"", b"2345678", b"9"]), check, "{algorithm:?}");
        }
    }
}
