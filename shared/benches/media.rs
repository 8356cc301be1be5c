//! How long work on photos takes, and what memory: `cargo bench -p shared --no-default-features --features media --bench media`.
//!
//! Memory is what was allocated at the peak, the file itself included. A function of 512 MB has about 450 MB for it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use image::RgbImage;
use peak_alloc::PeakAlloc;
use shared::media::{Limit, Picture, Target, WORKING_BYTES, convert, decode, double, encode, fit, probe};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const RUNS: usize = 5;

#[expect(clippy::print_stdout, reason = "a table is what it is for")]
fn main() {
    println!("{:<44} {:>10} {:>12}", "", "median", "peak");
    let twelve = photo(4000, 3000);
    let jpeg = written(&twelve, Target::Jpeg { quality: 95 });
    let png = written(&twelve, Target::Png);
    let webp = written(&twelve, Target::Webp);
    println!("12 MP: JPEG {} bytes, PNG {} bytes, WebP {} bytes", jpeg.len(), png.len(), webp.len());
    measure("probe a JPEG of 12 MP", || probe(std::io::Cursor::new(&jpeg), jpeg.len() as u64));
    measure("decode a JPEG of 12 MP", || decode(&jpeg, WORKING_BYTES));
    measure("decode a PNG of 12 MP", || decode(&png, WORKING_BYTES));
    measure("decode a WebP of 12 MP", || decode(&webp, WORKING_BYTES));
    measure("fit a JPEG of 12 MP into 4 MB", || fit(&jpeg, Limit::default()));
    measure("fit a JPEG of 12 MP into 1 MB", || fit(&jpeg, Limit { bytes: 1_000_000 }));
    measure("convert a JPEG of 12 MP to PNG", || convert(&jpeg, Target::Png));
    measure("convert a JPEG of 12 MP to WebP", || convert(&jpeg, Target::Webp));
    measure("enlarge a JPEG of 12 MP to a PNG of 48 MP", || double(&jpeg, Target::Png));
    measure("enlarge a PNG of 12 MP to a JPEG of 48 MP", || double(&png, Target::Jpeg { quality: 90 }));
    drop((twelve, png, webp));
    let fifty = photo(8064, 6048);
    let jpeg = written(&fifty, Target::Jpeg { quality: 90 });
    drop(fifty);
    measure("fit a JPEG of 48 MP into 4 MB", || fit(&jpeg, Limit::default()));
}

fn measure<T>(name: &str, work: impl Fn() -> T) {
    let mut times = [Duration::ZERO; RUNS];
    MEMORY.reset_peak_usage();
    for time in &mut times {
        let begin = Instant::now();
        drop(black_box(work()));
        *time = begin.elapsed();
    }
    times.sort();
    report(name, times[RUNS / 2]);
}

#[expect(clippy::print_stdout, reason = "a table is what it is for")]
fn report(name: &str, median: Duration) {
    println!("{name:<44} {:>7} ms {:>9.0} MB", median.as_millis(), MEMORY.peak_usage_as_mb());
}

fn written(pixels: &RgbImage, target: Target) -> Vec<u8> {
    encode(Picture::new(pixels.clone().into()), target).unwrap_or_default()
}

/// Gentle forms with the grain of a camera.
fn photo(width: u32, height: u32) -> RgbImage {
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    RgbImage::from_fn(width, height, |x, y| {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        let [grain, ..] = (noise % 80).to_le_bytes();
        let [base, ..] = ((x + y) / 64 % 128 + 32).to_le_bytes();
        image::Rgb([base + grain, base / 2 + grain, 200 - grain])
    })
}
