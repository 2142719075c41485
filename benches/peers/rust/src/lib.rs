//! What the Rust peers share: cases, timing, data, and one JSON line on stdout for each figure. The same as `common.py`.

use std::path::Path;
use std::time::Instant;

/// Name, m, k, n, whether `a` and `b` are stored transposed.
pub type Product = (&'static str, usize, usize, usize, bool, bool);

/// The products that are compared.
pub const PRODUCTS: [Product; 12] = [
    ("sq64", 64, 64, 64, false, false),
    ("sq128", 128, 128, 128, false, false),
    ("sq256", 256, 256, 256, false, false),
    ("sq512", 512, 512, 512, false, false),
    ("sq1024", 1024, 1024, 1024, false, false),
    ("sq2048", 2048, 2048, 2048, false, false),
    ("32x784x300", 32, 784, 300, false, false),
    ("32x300x100", 32, 300, 100, false, false),
    ("128x784x512", 128, 784, 512, false, false),
    ("XtG 784x32x300", 784, 32, 300, true, false),
    ("GWt 32x300x784", 32, 300, 784, false, true),
    ("im2col 64x576x1024", 64, 576, 1024, false, false),
];

/// The sizes of the autoencoder's layers.
pub const AUTOENCODER: [usize; 7] = [784, 128, 64, 32, 64, 128, 784];

/// Prints a figure.
pub fn emit(section: &str, peer: &str, case: &str, threads: usize, metric: &str, mut values: Vec<f64>) {
    values.sort_by(f64::total_cmp);
    println!(
        "{{\"section\":\"{section}\",\"peer\":\"{peer}\",\"case\":\"{case}\",\"threads\":{threads},\
         \"metric\":\"{metric}\",\"median\":{:.6},\"reps\":{}}}",
        values[values.len() / 2],
        values.len()
    );
}

/// How many threads `RAYON_NUM_THREADS` asks for.
pub fn threads() -> usize {
    std::env::var("RAYON_NUM_THREADS").ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}

/// Seconds of a call, seven times the mean over a slice of time.
pub fn time_calls(mut call: impl FnMut()) -> Vec<f64> {
    let slice = std::env::var("PEERS_SLICE").ok().and_then(|text| text.parse().ok()).unwrap_or(0.08);
    call();
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed().as_secs_f64() < slice {
        call();
        count += 1;
    }
    let mean = |_| {
        let start = Instant::now();
        (0..count).for_each(|_| call());
        start.elapsed().as_secs_f64() / f64::from(count)
    };
    (0..7).map(mean).collect()
}

/// Xorshift (Marsaglia 2003): good enough to shuffle with.
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Numbers from -3 to 3.
    pub fn noise(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| (self.draw() >> 40) as f32 / (1 << 24) as f32 * 6.0 - 3.0).collect()
    }

    /// The numbers below `len` in another order.
    pub fn order(&mut self, len: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..len).collect();
        for i in (1..len).rev() {
            order.swap(i, self.draw() as usize % (i + 1));
        }
        order
    }
}

/// The 55,000 images that the labs train on, scaled, and their labels, from the unpacked files in `FASHION_MNIST`.
pub struct Images {
    x: Vec<f32>,
    y: Vec<i64>,
}

impl Images {
    /// Reads them.
    pub fn read() -> Images {
        let folder = std::env::var("FASHION_MNIST").expect("FASHION_MNIST names the folder of the unpacked files");
        let bytes = |name: &str| std::fs::read(Path::new(&folder).join(name)).expect("an unpacked IDX file");
        let x = bytes("train-images-idx3-ubyte")[16 + 5000 * 784..].iter().map(|&x| f32::from(x) / 255.0).collect();
        Images { x, y: bytes("train-labels-idx1-ubyte")[8 + 5000..].iter().map(|&y| i64::from(y)).collect() }
    }

    fn batch(&self, rows: &[usize]) -> (Vec<f32>, Vec<i64>) {
        let x = rows.iter().flat_map(|&row| &self.x[row * 784..(row + 1) * 784]).copied().collect();
        (x, rows.iter().map(|&row| self.y[row]).collect())
    }

    /// Calls `step` with the shuffled batches of an epoch.
    pub fn epoch(&self, size: usize, mut step: impl FnMut(Vec<f32>, Vec<i64>)) {
        for rows in Random(1).order(self.y.len()).chunks(size) {
            let (x, y) = self.batch(rows);
            step(x, y);
        }
    }

    /// Trains for some seconds and prints samples a second.
    pub fn train(&self, peer: &str, model: &str, mut step: impl FnMut(Vec<f32>, Vec<i64>)) {
        let size = if model == "ae" { 256 } else { 32 };
        let slice: f64 = std::env::var("PEERS_SLICE").ok().and_then(|text| text.parse().ok()).unwrap_or(0.08);
        let mut random = Random(123_456_789);
        let mut rate = |_| {
            let (start, mut done) = (Instant::now(), 0);
            for rows in random.order(self.y.len()).chunks(size) {
                let (x, y) = self.batch(rows);
                done += y.len();
                step(x, y);
                if start.elapsed().as_secs_f64() > 30.0 * slice {
                    break;
                }
            }
            done as f64 / start.elapsed().as_secs_f64()
        };
        let rates: Vec<f64> = (0..4).map(&mut rate).collect();
        // The first round warms up.
        emit("B", peer, model, threads(), "samples/s", rates[1..].to_vec());
    }
}
