//! A small MP4 file: one video track that shows one JPEG picture for some seconds (ISO/IEC 14496-12 and -14).

/// Ticks per second of all times in the file.
const TIMESCALE: u32 = 1_000;
/// The 3x3 matrix that leaves pictures as they are, in fixed point.
const UNITY: [u32; 9] = [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000];
/// `und`, three letters of five bits each.
const UNDETERMINED: u16 = 0x55c4;

#[derive(Clone, Copy)]
struct Size {
    width: u32,
    height: u32,
}

/// An MP4 of `jpeg`, a picture of that size (below 65536 pixels a side), shown for `seconds`. Not every player knows JPEG in MP4.
pub fn still(jpeg: &[u8], width: u32, height: u32, seconds: u32) -> Vec<u8> {
    let size = Size { width, height };
    let kind = boxed(b"ftyp", &[&b"mp42"[..], &be32(0), b"isom", b"mp42"].concat());
    let data = boxed(b"mdat", jpeg);
    // The sample lies after the header of `mdat`, which follows `ftyp`.
    let offset = u32_of(kind.len()) + 8;
    let movie = movie(u32_of(jpeg.len()), offset, size, seconds.saturating_mul(TIMESCALE));
    [kind, data, movie].concat()
}

fn movie(sample_bytes: u32, offset: u32, size: Size, duration: u32) -> Vec<u8> {
    let matrix: Vec<u8> = UNITY.iter().flat_map(|number| be32(*number)).collect();
    let header = [
        // Version and flags, created, modified, timescale, duration, rate 1.0, volume 1.0, reserved.
        &words(&[0, 0, 0, TIMESCALE, duration, 0x0001_0000, 0x0100_0000, 0, 0])[..],
        &matrix,
        &words(&[0; 6]),
        // The next track's id.
        &be32(2),
    ];
    boxed(b"moov", &[boxed(b"mvhd", &header.concat()), track(sample_bytes, offset, size, duration, &matrix)].concat())
}

fn track(sample_bytes: u32, offset: u32, size: Size, duration: u32, matrix: &[u8]) -> Vec<u8> {
    let header = [
        // Enabled and in the movie; created, modified, track id, reserved, duration, reserved, layer, volume.
        &words(&[3, 0, 0, 1, 0, duration, 0, 0, 0, 0])[..],
        matrix,
        &words(&[size.width << 16, size.height << 16]),
    ];
    let media_header = [&words(&[0, 0, 0, TIMESCALE, duration])[..], &UNDETERMINED.to_be_bytes(), &[0; 2]];
    let handler = [&words(&[0, 0])[..], b"vide", &words(&[0, 0, 0]), b"video\0"];
    let video_header = [&words(&[1])[..], &[0; 8]];
    // One data reference: this file.
    let references = boxed(b"dinf", &boxed(b"dref", &[words(&[0, 1]), boxed(b"url ", &words(&[1]))].concat()));
    let samples = [
        boxed(b"stsd", &[words(&[0, 1]), sample_entry(sample_bytes, size)].concat()),
        boxed(b"stts", &words(&[0, 1, 1, duration])),
        boxed(b"stsc", &words(&[0, 1, 1, 1, 1])),
        boxed(b"stsz", &words(&[0, 0, 1, sample_bytes])),
        boxed(b"stco", &words(&[0, 1, offset])),
    ];
    let information = [boxed(b"vmhd", &video_header.concat()), references, boxed(b"stbl", &samples.concat())];
    let media =
        [boxed(b"mdhd", &media_header.concat()), boxed(b"hdlr", &handler.concat()), boxed(b"minf", &information.concat())];
    boxed(b"trak", &[boxed(b"tkhd", &header.concat()), boxed(b"mdia", &media.concat())].concat())
}

/// An `mp4v` entry whose object type says JPEG.
fn sample_entry(sample_bytes: u32, size: Size) -> Vec<u8> {
    let sides = be32((size.width << 16) | size.height);
    let entry = [
        // Reserved, data reference 1, reserved.
        &[0, 0, 0, 0, 0, 0, 0, 1][..],
        &[0; 16],
        &sides,
        // 72 dots per inch twice, reserved, one picture per sample.
        &words(&[0x0048_0000, 0x0048_0000, 0]),
        &1_u16.to_be_bytes(),
        // The compressor's name, none; 24 bits of colour; -1.
        &[0; 32],
        &[0, 24, 0xff, 0xff],
        &boxed(b"esds", &elementary_stream(sample_bytes)),
    ];
    boxed(b"mp4v", &entry.concat())
}

/// ISO/IEC 14496-1: the stream's descriptor, with those of its decoder and its synchronisation.
fn elementary_stream(sample_bytes: u32) -> Vec<u8> {
    let bits = sample_bytes.saturating_mul(8);
    let mut decoder = vec![0x04, 13, 0x6c, 0x11];
    decoder.extend_from_slice(&be32(sample_bytes)[1..]);
    decoder.extend_from_slice(&words(&[bits, bits]));
    let mut stream = words(&[0]);
    stream.extend_from_slice(&[0x03, 3 + 15 + 3, 0, 1, 0]);
    stream.extend_from_slice(&decoder);
    stream.extend_from_slice(&[0x06, 1, 2]);
    stream
}

fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [&be32(u32_of(content.len()) + 8), &kind[..], content].concat()
}

fn words(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| be32(*number)).collect()
}

fn be32(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

fn u32_of(length: usize) -> u32 {
    u32::try_from(length).expect("a simulated video is far below 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The boxes in `bytes`, and within those that hold boxes only.
    fn boxes(bytes: &[u8]) -> Vec<String> {
        let mut names = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
            let name = String::from_utf8(rest[4..8].to_vec()).unwrap();
            if ["moov", "trak", "mdia", "minf", "stbl", "dinf"].contains(&name.as_str()) {
                names.push(format!("{name}({})", boxes(&rest[8..length]).join(" ")));
            } else {
                names.push(name);
            }
            rest = &rest[length..];
        }
        names
    }

    #[test]
    fn video_is_a_whole_mp4_whose_sample_is_the_picture() {
        let picture = [&[0xff, 0xd8, 0xff][..], &[7; 500]].concat();
        let video = still(&picture, 640, 360, 6);
        assert_eq!(infer::get(&video).unwrap().mime_type(), "video/mp4");
        let tree = "moov(mvhd trak(tkhd mdia(mdhd hdlr minf(vmhd dinf(dref) stbl(stsd stts stsc stsz stco)))))";
        assert_eq!(boxes(&video), ["ftyp", "mdat", tree]);
        let at = video.windows(4).position(|window| window == b"stco").unwrap() + 12;
        let offset = u32::from_be_bytes(video[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!(video[offset..offset + picture.len()], picture);
    }
}
