//! Boxes and their fields, in memory.

/// What is wrong with a box, as it goes into [`Unfit::Damaged`](crate::media::Unfit::Damaged).
pub(super) type Parsed<T> = Result<T, &'static str>;

/// The boxes that fill a box's content, one after the other.
#[derive(Clone, Copy)]
pub(super) struct Boxes<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Boxes<'a> {
    type Item = Parsed<(&'a [u8; 4], &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        // QuickTime ends some lists with four zero bytes.
        if self.0.len() < 8 {
            return None;
        }
        let found = split(self.0);
        self.0 = match found {
            Ok((_, _, rest)) => rest,
            Err(_) => &[],
        };
        Some(found.map(|(kind, content, _)| (kind, content)))
    }
}

type Split<'a> = (&'a [u8; 4], &'a [u8], &'a [u8]);

fn split(bytes: &[u8]) -> Parsed<Split<'_>> {
    let mut fields = Fields(bytes);
    let length = fields.u32()?;
    let (kind, _) = fields.0.split_first_chunk::<4>().ok_or(SHORT)?;
    fields.skip(4)?;
    let (length, header) = match length {
        0 => (bytes.len() as u64, 8),
        1 => (fields.u64()?, 16),
        length => (length.into(), 8),
    };
    let content = length.checked_sub(header).ok_or("a box is shorter than its header")?;
    let content = usize::try_from(content).map_err(|_| LONG)?;
    let (content, rest) = fields.0.split_at_checked(content).ok_or(LONG)?;
    Ok((kind, content, rest))
}

const SHORT: &str = "a box is shorter than its fields";
const LONG: &str = "a box is longer than the one around it";

/// Fields of a box, read from the front.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Parsed<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or(SHORT)?;
        self.0 = rest;
        Ok(*field)
    }

    pub(super) fn u16(&mut self) -> Parsed<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Parsed<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Parsed<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Parsed<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn skip(&mut self, length: usize) -> Parsed<()> {
        self.0 = self.0.get(length..).ok_or(SHORT)?;
        Ok(())
    }

    /// A table of `count` rows of `N` bytes, which must be there.
    pub(super) fn rows<const N: usize>(&mut self, count: u32) -> Parsed<&'a [[u8; N]]> {
        let (rows, _) = self.0.as_chunks::<N>();
        usize::try_from(count).ok().and_then(|count| rows.get(..count)).ok_or("a table has fewer rows than it counts")
    }
}

/// Whether every player reads it the same: some take zero or a negative number for one.
pub(super) fn is_timescale(timescale: u32) -> bool {
    i32::try_from(timescale).is_ok_and(|timescale| timescale > 0)
}

/// Timescale and duration of `mvhd` and `mdhd`; zero where the duration is unknown.
pub(super) fn times(content: &[u8]) -> Parsed<(u32, u64)> {
    let mut fields = Fields(content);
    let [version, ..] = fields.array::<4>()?;
    fields.skip(if version == 1 { 16 } else { 8 })?;
    let timescale = fields.u32()?;
    if !is_timescale(timescale) {
        return Err("its timescale is out of range");
    }
    Ok((timescale, duration(&mut fields, version)?))
}

/// A duration field; all ones say that it is unknown.
pub(super) fn duration(fields: &mut Fields<'_>, version: u8) -> Parsed<u64> {
    let (ticks, unknown) = if version == 1 { (fields.u64()?, u64::MAX) } else { (fields.u32()?.into(), u32::MAX.into()) };
    Ok(if ticks == unknown { 0 } else { ticks })
}
