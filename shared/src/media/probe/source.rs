//! A file that is read forward, never past its end.

use std::io::{BufRead, ErrorKind, Seek, SeekFrom};

use crate::media::Unfit;

/// A file of a known type and length; every error names the type.
pub(super) struct Source<R> {
    reader: R,
    pub(super) content_type: &'static str,
    at: u64,
    end: u64,
}

impl<R: BufRead + Seek> Source<R> {
    /// `bytes`: the file's length. A reader that holds less is a file that was cut off.
    pub(super) fn open(mut reader: R, bytes: u64) -> Result<Self, Unfit> {
        let held = reader.seek(SeekFrom::End(0)).map_err(Unfit::Unreadable)?;
        reader.rewind().map_err(Unfit::Unreadable)?;
        let source = Self { reader, content_type: "application/octet-stream", at: 0, end: bytes };
        if held < bytes { Err(source.truncated("the length it was announced with")) } else { Ok(source) }
    }

    pub(super) fn truncated(&self, missing: &'static str) -> Unfit {
        Unfit::Truncated { content_type: self.content_type, missing }
    }

    pub(super) fn damaged(&self, problem: &'static str) -> Unfit {
        Unfit::Damaged { content_type: self.content_type, problem }
    }

    pub(super) fn unsupported(&self, feature: &'static str) -> Unfit {
        Unfit::Unsupported { content_type: self.content_type, feature }
    }

    pub(super) fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn left(&self) -> u64 {
        self.end - self.at
    }

    /// The next bytes; `what` they are is said when the file ends before them.
    pub(super) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Unfit> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, what)?;
        Ok(bytes)
    }

    /// The next bytes. The caller bounds `length`: so much is allocated, if the file has it.
    pub(super) fn bytes(&mut self, length: u64, what: &'static str) -> Result<Vec<u8>, Unfit> {
        let length = usize::try_from(length).ok().filter(|_| length <= self.left()).ok_or_else(|| self.truncated(what))?;
        let mut bytes = vec![0; length];
        self.fill(&mut bytes, what)?;
        Ok(bytes)
    }

    pub(super) fn skip(&mut self, length: u64, what: &'static str) -> Result<(), Unfit> {
        let step = i64::try_from(length).ok().filter(|_| length <= self.left()).ok_or_else(|| self.truncated(what))?;
        self.reader.seek_relative(step).map_err(Unfit::Unreadable)?;
        self.at += length;
        Ok(())
    }

    /// Goes on behind the next byte `sought` and says whether there was one; otherwise stands at the end.
    pub(super) fn skip_past(&mut self, sought: u8) -> Result<bool, Unfit> {
        while self.left() > 0 {
            let buffered = self.reader.fill_buf().map_err(Unfit::Unreadable)?;
            if buffered.is_empty() {
                return Err(self.truncated("the length it was announced with"));
            }
            let usable = usize::try_from(self.end - self.at).map_or(buffered.len(), |left| left.min(buffered.len()));
            let found = buffered[..usable].iter().position(|byte| *byte == sought);
            let passed = found.map_or(usable, |index| index + 1);
            self.reader.consume(passed);
            self.at += passed as u64;
            if found.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn fill(&mut self, bytes: &mut [u8], what: &'static str) -> Result<(), Unfit> {
        let length = bytes.len() as u64;
        if length > self.left() {
            return Err(self.truncated(what));
        }
        match self.reader.read_exact(bytes) {
            Ok(()) => {
                self.at += length;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(self.truncated(what)),
            Err(error) => Err(Unfit::Unreadable(error)),
        }
    }
}
