//! `stbl`: how many samples a track has, how long they last, and where they lie.

use super::boxes::{Boxes, Fields, Parsed};

#[derive(Debug, Default)]
pub(super) struct Samples {
    pub(super) count: u64,
    /// How long they last, one after the other, in ticks.
    pub(super) ticks: u64,
    /// From the first that is shown until the last one's end, in ticks.
    pub(super) shown_ticks: u64,
    /// The end of the last of their data, in bytes of the file.
    pub(super) data_end: u64,
}

/// `is_exact`: their times have to be given for each of them.
pub(super) fn read(table: &[u8], is_exact: bool) -> Parsed<Samples> {
    let tables = Tables::read(table)?;
    let count = tables.sizes.count();
    let (ticks, timed) = durations(tables.durations);
    if is_exact && timed != count {
        return Err("it gives times for another number of frames than it has");
    }
    let shown_ticks = if is_exact { shown(tables.durations, tables.offsets) } else { 0 };
    Ok(Samples { count: count.into(), ticks, shown_ticks, data_end: data_end(&tables)? })
}

#[derive(Default)]
struct Tables<'a> {
    /// `stts`: number of samples, ticks of each.
    durations: &'a [[u8; 8]],
    /// `ctts`: number of samples, ticks by which each is shown later than it is decoded.
    offsets: &'a [[u8; 8]],
    /// `stsc`: first chunk, samples in each chunk from there on, description.
    runs: &'a [[u8; 12]],
    chunks: Chunks<'a>,
    sizes: Sizes<'a>,
}

enum Chunks<'a> {
    Short(&'a [[u8; 4]]),
    Long(&'a [[u8; 8]]),
}

impl Default for Chunks<'_> {
    fn default() -> Self {
        Self::Short(&[])
    }
}

enum Sizes<'a> {
    Same {
        size: u32,
        count: u32,
    },
    Each(&'a [[u8; 4]]),
    /// `stz2`: 4, 8 or 16 bits a sample.
    Compact {
        bits: u8,
        count: u32,
        packed: &'a [u8],
    },
}

impl Default for Sizes<'_> {
    fn default() -> Self {
        Self::Each(&[])
    }
}

impl Sizes<'_> {
    fn count(&self) -> u32 {
        match self {
            Self::Same { count, .. } | Self::Compact { count, .. } => *count,
            Self::Each(rows) => u32::try_from(rows.len()).unwrap_or(u32::MAX),
        }
    }

    /// The bytes of `count` samples from number `first` on.
    fn sum(&self, first: usize, count: usize) -> u64 {
        match self {
            Self::Same { size, .. } => u64::from(*size).saturating_mul(count as u64),
            Self::Each(rows) => rows.iter().skip(first).take(count).map(|row| u64::from(u32::from_be_bytes(*row))).sum(),
            Self::Compact { bits: 16, packed, .. } => {
                packed.as_chunks().0.iter().skip(first).take(count).map(|row| u64::from(u16::from_be_bytes(*row))).sum()
            }
            Self::Compact { bits: 4, packed, .. } => {
                let pairs = packed.iter().skip(first / 2).take(count.div_ceil(2));
                pairs.map(|pair| u64::from(pair >> 4) + u64::from(pair & 0xf)).sum()
            }
            Self::Compact { packed, .. } => packed.iter().skip(first).take(count).map(|byte| u64::from(*byte)).sum(),
        }
    }
}

impl<'a> Tables<'a> {
    fn read(table: &'a [u8]) -> Parsed<Self> {
        let mut tables = Self::default();
        for child in Boxes(table) {
            let (kind, content) = child?;
            let mut fields = Fields(content);
            if !matches!(kind, b"stts" | b"ctts" | b"stsc" | b"stco" | b"co64" | b"stsz" | b"stz2") {
                continue;
            }
            fields.skip(4)?;
            match kind {
                b"stsz" => {
                    let (size, count) = (fields.u32()?, fields.u32()?);
                    tables.sizes = if size == 0 { Sizes::Each(fields.rows(count)?) } else { Sizes::Same { size, count } };
                }
                b"stz2" => tables.sizes = compact(fields)?,
                _ => {
                    let count = fields.u32()?;
                    match kind {
                        b"stts" => tables.durations = fields.rows(count)?,
                        b"ctts" => tables.offsets = fields.rows(count)?,
                        b"stsc" => tables.runs = fields.rows(count)?,
                        b"stco" => tables.chunks = Chunks::Short(fields.rows(count)?),
                        _ => tables.chunks = Chunks::Long(fields.rows(count)?),
                    }
                }
            }
        }
        Ok(tables)
    }
}

fn compact(mut fields: Fields<'_>) -> Parsed<Sizes<'_>> {
    let ([_, _, _, bits], count) = (fields.array()?, fields.u32()?);
    if !matches!(bits, 4 | 8 | 16) {
        return Err("its sample sizes have a width that does not exist");
    }
    let length = (u64::from(count) * u64::from(bits)).div_ceil(8);
    let packed = usize::try_from(length).ok().and_then(|length| fields.0.get(..length));
    Ok(Sizes::Compact { bits, count, packed: packed.ok_or("a table has fewer rows than it counts")? })
}

/// A row of `stts` or `ctts`: a number of samples and their common value.
fn pair(row: [u8; 8]) -> (u32, u32) {
    let [c0, c1, c2, c3, v0, v1, v2, v3] = row;
    (u32::from_be_bytes([c0, c1, c2, c3]), u32::from_be_bytes([v0, v1, v2, v3]))
}

/// All ticks, and the number of samples that have times.
fn durations(rows: &[[u8; 8]]) -> (u64, u32) {
    rows.iter().map(|row| pair(*row)).fold((0, 0), |(ticks, samples): (u64, u32), (count, delta)| {
        (ticks.saturating_add(u64::from(count) * u64::from(delta)), samples.saturating_add(count))
    })
}

/// From the first sample that is shown until the last one's end: frames may be shown later than they are decoded.
///
/// Both tables are runs, so that only where one of them changes is there something to see.
fn shown(durations: &[[u8; 8]], offsets: &[[u8; 8]]) -> u64 {
    let mut offsets = offsets.iter().map(|row| pair(*row)).filter(|(count, _)| *count > 0);
    let (mut with_offset, mut offset) = offsets.next().unwrap_or((u32::MAX, 0));
    let (mut time, mut first, mut last) = (0_i128, i128::MAX, i128::MIN);
    for (mut count, delta) in durations.iter().map(|row| pair(*row)) {
        let delta = i128::from(delta);
        while count > 0 {
            let together = count.min(with_offset);
            let shift = i128::from(offset.cast_signed());
            first = first.min(time + shift);
            time += i128::from(together) * delta;
            last = last.max(time + shift);
            count -= together;
            with_offset -= together;
            if with_offset == 0 {
                (with_offset, offset) = offsets.next().unwrap_or((u32::MAX, 0));
            }
        }
    }
    u64::try_from(last.saturating_sub(first)).unwrap_or(0)
}

/// Follows all chunks to the end of the one that reaches furthest.
fn data_end(tables: &Tables<'_>) -> Parsed<u64> {
    let mut runs = tables.runs.iter().map(|row| {
        let [c0, c1, c2, c3, s0, s1, s2, s3, ..] = *row;
        (u32::from_be_bytes([c0, c1, c2, c3]), u32::from_be_bytes([s0, s1, s2, s3]))
    });
    let samples = usize::try_from(tables.sizes.count()).unwrap_or(usize::MAX);
    let (mut in_chunk, mut next) = (0, runs.next());
    let (mut passed, mut end) = (0_usize, 0_u64);
    let mut visit = |number: u32, offset: u64| -> Parsed<()> {
        if let Some((first, count)) = next
            && first <= number
        {
            in_chunk = usize::try_from(count).unwrap_or(usize::MAX);
            next = runs.next();
            if next.is_some_and(|(later, _)| later <= first) {
                return Err("its chunks are not in order");
            }
        }
        let count = in_chunk.min(samples - passed);
        if count > 0 {
            end = end.max(offset.saturating_add(tables.sizes.sum(passed, count)));
            passed += count;
        }
        Ok(())
    };
    match tables.chunks {
        Chunks::Short(rows) => {
            for (number, row) in (1..).zip(rows) {
                visit(number, u32::from_be_bytes(*row).into())?;
            }
        }
        Chunks::Long(rows) => {
            for (number, row) in (1..).zip(rows) {
                visit(number, u64::from_be_bytes(*row))?;
            }
        }
    }
    if passed < samples { Err("its chunks hold fewer samples than it counts") } else { Ok(end) }
}
