//! Videos made in code: nothing in them can be decoded, but their containers are right.

/// An MP4 or QuickTime file with one track.
#[derive(Clone)]
pub(super) struct Clip {
    pub(super) brand: [u8; 4],
    pub(super) handler: [u8; 4],
    pub(super) width: u16,
    pub(super) height: u16,
    /// a, b, c, d of the track's matrix.
    pub(super) matrix: [i32; 4],
    /// Ticks a second and ticks of the movie's header.
    pub(super) movie: (u32, u32),
    /// Ticks a second and ticks of the track's header.
    pub(super) track: (u32, u32),
    pub(super) frames: u32,
    pub(super) ticks_a_frame: u32,
    /// Pairs of a number of frames and a delay, as in `ctts`.
    pub(super) delays: Vec<(u32, i32)>,
    /// Durations of edits, in ticks of the movie.
    pub(super) edits: Vec<u32>,
    pub(super) bytes_a_frame: u32,
    pub(super) is_self_contained: bool,
}

impl Default for Clip {
    /// Two seconds of 25 frames each.
    fn default() -> Self {
        Self {
            brand: *b"isom",
            handler: *b"vide",
            width: 320,
            height: 240,
            matrix: [0x1_0000, 0, 0, 0x1_0000],
            movie: (1000, 2000),
            track: (12_800, 25_600),
            frames: 50,
            ticks_a_frame: 512,
            delays: Vec::new(),
            edits: Vec::new(),
            bytes_a_frame: 10,
            is_self_contained: true,
        }
    }
}

pub(super) fn atom(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len() + 8).expect("a file in memory");
    [&length.to_be_bytes()[..], kind, content].concat()
}

pub(super) fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// Nothing where there are no rows: re_mp4 panics at an empty table.
fn optional(kind: &[u8; 4], rows: u32, content: &[u8]) -> Vec<u8> {
    if rows == 0 { Vec::new() } else { atom(kind, content) }
}

impl Clip {
    /// With its frames in front of the index.
    pub(super) fn file(&self) -> Vec<u8> {
        let start = [self.file_type(), atom(b"mdat", &vec![7; (self.frames * self.bytes_a_frame) as usize])].concat();
        [start, self.index(true)].concat()
    }

    pub(super) fn file_type(&self) -> Vec<u8> {
        atom(b"ftyp", &[&self.brand[..], &[0, 0, 2, 0], &self.brand].concat())
    }

    /// In fragments of ten frames each, as if `first` ticks of a broadcast had passed.
    pub(super) fn fragmented(&self, first: u32) -> Vec<u8> {
        let mut file = [self.file_type(), self.index(false)].concat();
        for number in 0..self.frames / 10 {
            file.extend(self.fragment(first + number * 10 * self.ticks_a_frame, 10));
        }
        file
    }

    pub(super) fn fragment(&self, at: u32, frames: u32) -> Vec<u8> {
        // 16 of `mfhd`, 20 of `tfhd`, 16 of `tfdt`, 20 of `trun`, the headers of `moof`, `traf` and `mdat`.
        let data_at = 16 + 24 + 16 + 20 + 8 + 8 + 8;
        let parts = [
            atom(b"tfhd", &words(&[0x2_0018, 1, self.ticks_a_frame, self.bytes_a_frame])),
            atom(b"tfdt", &words(&[0, at])),
            atom(b"trun", &words(&[1, frames, data_at])),
        ];
        let traf = atom(b"traf", &parts.concat());
        let moof = atom(b"moof", &[atom(b"mfhd", &words(&[0, 1])), traf].concat());
        [moof, atom(b"mdat", &vec![7; (frames * self.bytes_a_frame) as usize])].concat()
    }

    pub(super) fn index(&self, has_samples: bool) -> Vec<u8> {
        let mvhd = atom(b"mvhd", &[words(&[0, 0, 0, self.movie.0, self.movie.1]), vec![0; 80]].concat());
        let fragments = atom(b"mvex", &atom(b"trex", &words(&[0, 1, 1, 0, 0, 0])));
        let parts = [mvhd, self.track(has_samples), if has_samples { Vec::new() } else { fragments }];
        atom(b"moov", &parts.concat())
    }

    pub(super) fn track(&self, has_samples: bool) -> Vec<u8> {
        let [a, b, c, d] = self.matrix.map(i32::cast_unsigned);
        let matrix = words(&[a, b, 0, c, d, 0, 0, 0, 0x4000_0000]);
        let size = words(&[u32::from(self.width) << 16, u32::from(self.height) << 16]);
        let tkhd = atom(b"tkhd", &[words(&[7, 0, 0, 1, 0, self.movie.1, 0, 0, 0, 0]), matrix, size].concat());
        let edits: Vec<u32> = self.edits.iter().flat_map(|ticks| [*ticks, 0, 0x1_0000]).collect();
        let count = u32::try_from(self.edits.len()).expect("a file in memory");
        let edits = optional(b"edts", count, &atom(b"elst", &[words(&[0, count]), words(&edits)].concat()));
        let parts = [
            atom(b"mdhd", &words(&[0, 0, 0, self.track.0, self.track.1, 0])),
            atom(b"hdlr", &[words(&[0, 0]), self.handler.to_vec(), vec![0; 13]].concat()),
            self.information(has_samples),
        ];
        atom(b"trak", &[tkhd, edits, atom(b"mdia", &parts.concat())].concat())
    }

    fn information(&self, has_samples: bool) -> Vec<u8> {
        let url = atom(b"url ", &words(&[u32::from(self.is_self_contained)]));
        let dinf = atom(b"dinf", &atom(b"dref", &[words(&[0, 1]), url].concat()));
        let size = [self.width.to_be_bytes(), self.height.to_be_bytes()].concat();
        let description = atom(b"xvid", &[vec![0; 24], size, vec![0; 50]].concat());
        let frames = if has_samples { self.frames } else { 0 };
        let delays: Vec<u32> = self.delays.iter().flat_map(|(count, delay)| [*count, delay.cast_unsigned()]).collect();
        let rows = |count: usize| u32::try_from(count).expect("a file in memory");
        let sizes = vec![self.bytes_a_frame; frames as usize];
        let chunk = u32::from(has_samples);
        let tables = [
            atom(b"stsd", &[words(&[0, 1]), description].concat()),
            atom(b"stts", &words(&[0, 1, frames, self.ticks_a_frame])),
            optional(b"ctts", rows(self.delays.len()), &[words(&[0, rows(self.delays.len())]), words(&delays)].concat()),
            atom(b"stsc", &words(&[0, 1, 1, frames, 1])),
            atom(b"stsz", &[words(&[0, 0, frames]), words(&sizes)].concat()),
            atom(b"stco", &[words(&[0, chunk]), if has_samples { words(&[20 + 8]) } else { Vec::new() }].concat()),
        ];
        let media_header = atom(b"vmhd", &words(&[1, 0, 0]));
        atom(b"minf", &[media_header, dinf, atom(b"stbl", &tables.concat())].concat())
    }
}

/// An element with a length of eight bytes.
pub(super) fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
    [id, &(content.len() as u64 | 1 << 56).to_be_bytes(), content].concat()
}

/// An element that says that its length is not known.
pub(super) fn endless(id: &[u8], content: &[u8]) -> Vec<u8> {
    [id, &[0xff], content].concat()
}

pub(super) const EBML: &[u8] = &[0x1a, 0x45, 0xdf, 0xa3];
pub(super) const SEGMENT: &[u8] = &[0x18, 0x53, 0x80, 0x67];
pub(super) const INFO: &[u8] = &[0x15, 0x49, 0xa9, 0x66];
pub(super) const TRACKS: &[u8] = &[0x16, 0x54, 0xae, 0x6b];
pub(super) const CLUSTER: &[u8] = &[0x1f, 0x43, 0xb6, 0x75];

pub(super) fn ebml(doc_type: &[u8]) -> Vec<u8> {
    let versions = [element(&[0x42, 0x87], &[4]), element(&[0x42, 0x85], &[2])].concat();
    element(EBML, &[element(&[0x42, 0x82], doc_type), versions].concat())
}

/// `Info`: nanoseconds a unit, and units.
pub(super) fn info(scale: u64, units: f64) -> Vec<u8> {
    let scale = element(&[0x2a, 0xd7, 0xb1], &scale.to_be_bytes());
    element(INFO, &[scale, element(&[0x44, 0x89], &units.to_be_bytes())].concat())
}

pub(super) fn tracks(kind: u8, width: u16, height: u16) -> Vec<u8> {
    let size = [element(&[0xb0], &width.to_be_bytes()), element(&[0xba], &height.to_be_bytes())].concat();
    let parts = [element(&[0xd7], &[1]), element(&[0x83], &[kind]), element(&[0xe0], &size)].concat();
    element(TRACKS, &element(&[0xae], &parts))
}

/// A cluster's content: its time, and a block of track 1 at each of the times after it.
pub(super) fn blocks(at: u64, times: &[i16]) -> Vec<u8> {
    let mut content = element(&[0xe7], &at.to_be_bytes());
    for time in times {
        content.extend(element(&[0xa3], &[&[0x81][..], &time.to_be_bytes(), &[0x80, 1, 2, 3]].concat()));
    }
    content
}

/// Two seconds of ten frames each.
pub(super) fn webm() -> Vec<u8> {
    let times: Vec<i16> = (0..10).map(|frame| frame * 100).collect();
    let clusters = [element(CLUSTER, &blocks(0, &times)), element(CLUSTER, &blocks(1000, &times))].concat();
    let segment = [info(1_000_000, 2000.0), tracks(1, 320, 240), clusters].concat();
    [ebml(b"webm"), element(SEGMENT, &segment)].concat()
}
