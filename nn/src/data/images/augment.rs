//! Varying images in training, so that a network sees each of them in many forms.

use gradus_core::kernels::random::{Distribution, fill};
use gradus_core::{RandomKey, Tensor};

use super::warp::Motion;
use super::{Fill, frame};
use crate::named::named;
use crate::{Error, Result};

/// How images are varied at random, each by numbers of its own in every epoch; a 0 varies nothing. What is drawn for an image depends
/// on the key, the epoch and the image's row alone: not on threads, on its place in the epoch, or on what else is varied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Augment {
    /// In which directions every second image is mirrored.
    pub flip: Flip,
    /// The largest shift, down or up and to either side, as a share of the height or width.
    pub shift: f64,
    /// The largest shift in whole pixels. It is the same as to add a border so wide, and to cut out an image of the old size
    /// at random.
    pub crop: usize,
    /// The largest turn, in degrees, to either side.
    pub rotate: f64,
    /// The largest share by which images grow or shrink.
    pub zoom: f64,
    /// What stands where a moved image does not reach.
    pub fill: Fill,
    /// The largest change of brightness, as a share of the way from black to white.
    pub brightness: f64,
    /// The largest share by which the distance from the mean, that of each channel, grows or shrinks.
    pub contrast: f64,
    /// The share of the images in which a rectangle becomes black (Zhong et al. 2020): of 2 to 33 percent of the area, and up to
    /// 3.3 times as high as wide or as wide as high.
    pub erase: f64,
    /// The parameter of the beta distribution from which the share of another image of the batch is drawn that each is mixed with,
    /// together with its target (Zhang et al. 2018).
    pub mixup: f64,
}

named! {
    /// A choice of directions in which images are mirrored.
    #[derive(Copy, Default)]
    Flip "flip" {
        /// None.
        #[default]
        None = "none";
        /// Left and right are exchanged.
        Horizontal = "horizontal";
        /// Top and bottom are exchanged.
        Vertical = "vertical";
        /// Each of the two, on its own.
        Both = "both";
    }
}

impl Flip {
    fn complaint(&self) -> Option<&'static str> {
        None
    }
}

/// How many numbers are drawn for an image. Each use has a place of its own among them.
const DRAWN: usize = 16;

/// Area and proportion of an erased rectangle.
const ERASED: (f64, f64, f64) = (0.02, 0.33, 3.3);

impl Augment {
    /// Whether images stay as they are.
    pub fn is_nothing(&self) -> bool {
        *self == Self { fill: self.fill, ..Self::default() }
    }

    /// Height, width and channels of samples of shape `sample`.
    ///
    /// # Errors
    /// If such samples are no images.
    pub fn check(&self, sample: &[usize]) -> Result<[usize; 3]> {
        frame(sample).ok_or_else(|| {
            Error::Config(format!("[data.augment] is for images, and a sample has shape {sample:?}; leave it out"))
        })
    }

    /// Varies a batch of images, `[N, height, width]` or `[N, height, width, channels]` as `f32` from 0 to `white`, that stand in
    /// these rows of their data set. `key` is the epoch's.
    ///
    /// # Errors
    /// If the samples are no images.
    pub fn apply(&self, images: &Tensor, rows: &[usize], white: f64, key: RandomKey) -> Result<Tensor> {
        let shape = images.shape();
        let frame = self.check(shape.get(1..).unwrap_or_default())?;
        let mut pixels = images.to_vec::<f32>()?;
        let mut moved = vec![0f32; frame.iter().product()];
        for (image, &row) in pixels.chunks_exact_mut(moved.len().max(1)).zip(rows) {
            let mut drawn = [0f64; DRAWN];
            fill(Distribution::Uniform { low: 0.0, high: 1.0 }, key.numbered(row as u64), 0, &mut drawn);
            let motion = self.motion(&drawn, frame);
            if !motion.is_identity() {
                motion.apply(image, frame, self.fill, &mut moved);
                image.copy_from_slice(&moved);
            }
            self.light(image, frame[2], &drawn, white);
            self.erase(image, frame, &drawn);
        }
        Ok(Tensor::from_slice(&pixels, shape)?)
    }

    /// Mixes rows of `[N, ..]`, whose first is mixed with the second, the second with the third, the last with the first. The same
    /// `rows` and `key` give the same shares, for inputs as for their targets.
    pub fn mix(&self, batch: &Tensor, rows: &[usize], key: RandomKey) -> Result<Tensor> {
        let count = rows.len();
        let next: Vec<i64> = (0..count).map(|i| ((i + 1) % count) as i64).collect();
        let others = batch.index_select(&Tensor::from_slice(&next, &[count])?, 0)?;
        let shares: Vec<f32> = rows.iter().map(|&row| self.share(key.numbered(row as u64).named("mixup"))).collect();
        let mut shape = vec![1; batch.rank()];
        shape[0] = count;
        let shares = Tensor::from_slice(&shares, &shape)?;
        Ok(batch.add(&others.sub(batch)?.mul(&shares)?)?)
    }

    /// A number of the beta distribution whose two parameters are `mixup`, by Jöhnk's method (1964).
    fn share(&self, key: RandomKey) -> f32 {
        let mut pair = [0f64; 2];
        let mut place = 0;
        loop {
            fill(Distribution::Uniform { low: 0.0, high: 1.0 }, key, place, &mut pair);
            let [x, y] = pair.map(|uniform| uniform.powf(1.0 / self.mixup));
            if x + y <= 1.0 && x + y > 0.0 {
                return (x / (x + y)) as f32;
            }
            place += 2;
        }
    }

    fn motion(&self, drawn: &[f64; DRAWN], [height, width, _]: [usize; 3]) -> Motion {
        let (down, across) = match self.flip {
            Flip::None => (false, false),
            Flip::Horizontal => (false, true),
            Flip::Vertical => (true, false),
            Flip::Both => (true, true),
        };
        let mirror = |wanted: bool, uniform: f64| if wanted && uniform < 0.5 { -1.0 } else { 1.0 };
        let mirror = [mirror(down, drawn[0]), mirror(across, drawn[1])];
        let whole = |uniform: f64| (uniform * (2 * self.crop + 1) as f64).floor() - self.crop as f64;
        let shift = [
            around(self.shift, drawn[2]) * height as f64 + whole(drawn[4]),
            around(self.shift, drawn[3]) * width as f64 + whole(drawn[5]),
        ];
        Motion::new(mirror, around(self.rotate.to_radians(), drawn[6]), 1.0 + around(self.zoom, drawn[7]), shift)
    }

    /// Changes brightness and contrast.
    fn light(&self, image: &mut [f32], channels: usize, drawn: &[f64; DRAWN], white: f64) {
        if self.brightness == 0.0 && self.contrast == 0.0 {
            return;
        }
        let more = (around(self.brightness, drawn[8]) * white) as f32;
        let factor = 1.0 + around(self.contrast, drawn[9]) as f32;
        let count = (image.len() / channels) as f64;
        for channel in 0..channels {
            let sum: f64 = image.iter().skip(channel).step_by(channels).map(|&pixel| f64::from(pixel)).sum();
            let mean = (sum / count) as f32;
            for pixel in image.iter_mut().skip(channel).step_by(channels) {
                *pixel = (mean + (*pixel - mean) * factor + more).clamp(0.0, white as f32);
            }
        }
    }

    /// Blackens a rectangle.
    fn erase(&self, image: &mut [f32], [height, width, channels]: [usize; 3], drawn: &[f64; DRAWN]) {
        if drawn[10] >= self.erase {
            return;
        }
        let (least, most, proportion) = ERASED;
        let area = (least + (most - least) * drawn[11]) * (height * width) as f64;
        let longer = around(proportion.ln(), drawn[12]).exp();
        let side = |length: f64, all: usize| (length.round() as usize).clamp(1, all);
        let (rows, columns) = (side((area * longer).sqrt(), height), side((area / longer).sqrt(), width));
        let start = |uniform: f64, left: usize| (uniform * (left + 1) as f64) as usize;
        let (top, left) = (start(drawn[13], height - rows), start(drawn[14], width - columns));
        for row in image.chunks_exact_mut(width * channels).skip(top).take(rows) {
            row[left * channels..(left + columns) * channels].fill(0.0);
        }
    }
}

/// A number from `-most` to `most`, as far along as `uniform`.
fn around(most: f64, uniform: f64) -> f64 {
    most * (2.0 * uniform - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: RandomKey = RandomKey::new(5);
    const SHAPE: [usize; 4] = [200, 6, 8, 2];

    fn images() -> Tensor {
        let count = SHAPE.iter().product::<usize>();
        Tensor::from_slice(&(0..count).map(|i| (i * 37 % 251) as f32 + 1.0).collect::<Vec<_>>(), &SHAPE).unwrap()
    }

    fn varied(augment: &Augment, rows: &[usize], key: RandomKey) -> Vec<f32> {
        augment.apply(&images(), rows, 255.0, key).unwrap().to_vec().unwrap()
    }

    fn all() -> Augment {
        Augment {
            flip: Flip::Both,
            shift: 0.1,
            crop: 2,
            rotate: 20.0,
            zoom: 0.2,
            fill: Fill::Reflect,
            brightness: 0.2,
            contrast: 0.3,
            erase: 0.5,
            mixup: 0.4,
        }
    }

    #[test]
    fn an_image_varies_with_its_row_and_the_epoch_alone() {
        let rows: Vec<usize> = (0..200).collect();
        let whole = varied(&all(), &rows, KEY);
        assert_eq!(whole, varied(&all(), &rows, KEY));
        assert_ne!(whole, varied(&all(), &rows, KEY.numbered(1)));
        // The last image of the batch, alone in one.
        let size = whole.len() / 200;
        let last = all().apply(&images().slice(0, 199, 200).unwrap(), &[199], 255.0, KEY).unwrap();
        assert_eq!(last.to_vec::<f32>().unwrap(), whole[199 * size..]);
        assert!(whole.iter().all(|&x| (0.0..=255.0).contains(&x)));
    }

    #[test]
    fn every_second_image_is_mirrored() {
        let rows: Vec<usize> = (0..200).collect();
        let augment = Augment { flip: Flip::Horizontal, ..Augment::default() };
        let new = Tensor::from_slice(&varied(&augment, &rows, KEY), &SHAPE).unwrap();
        let (old, mirrored) = (images(), images().flip(2).unwrap());
        let same = |a: &Tensor, b: &Tensor, i: usize| {
            a.select_index(0, i).unwrap().to_vec::<f32>().unwrap()
                == b.select_index(0, i).unwrap().to_vec::<f32>().unwrap()
        };
        let flipped = rows.iter().filter(|&&i| same(&new, &mirrored, i)).count();
        assert!((80..=120).contains(&flipped), "{flipped}");
        assert_eq!(rows.iter().filter(|&&i| same(&new, &old, i)).count(), 200 - flipped);
    }

    #[test]
    fn crops_reach_every_place_in_the_border() {
        let augment = Augment { crop: 1, ..Augment::default() };
        let rows: Vec<usize> = (0..200).collect();
        let places = |i: usize| {
            let mut drawn = [0f64; DRAWN];
            fill(Distribution::Uniform { low: 0.0, high: 1.0 }, KEY.numbered(i as u64), 0, &mut drawn);
            augment.motion(&drawn, [6, 8, 2]).shift.map(|shift| shift as i64)
        };
        let mut seen: Vec<[i64; 2]> = rows.iter().map(|&i| places(i)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 9, "{seen:?}");
        assert!(seen.iter().flatten().all(|shift| (-1..=1).contains(shift)));
    }

    #[test]
    fn rectangles_of_a_share_of_the_images_become_black() {
        let augment = Augment { erase: 0.5, ..Augment::default() };
        let rows: Vec<usize> = (0..200).collect();
        let new = varied(&augment, &rows, KEY);
        let black: Vec<usize> =
            new.chunks(6 * 8 * 2).map(|image| image.iter().filter(|&&x| x == 0.0).count() / 2).collect();
        let erased = black.iter().filter(|&&count| count > 0).count();
        assert!((75..=125).contains(&erased), "{erased}");
        // A third of 48 pixels, and what rounding both sides may add.
        assert!(black.iter().all(|&count| count <= 24), "{black:?}");
    }

    #[test]
    fn light_changes_as_far_as_it_may() {
        let rows: Vec<usize> = (0..200).collect();
        let grey = Tensor::full(&SHAPE, 100.0, gradus_core::DType::F32, gradus_core::Device::CPU).unwrap();
        let augment = Augment { brightness: 0.2, contrast: 0.5, ..Augment::default() };
        let new = augment.apply(&grey, &rows, 255.0, KEY).unwrap().to_vec::<f32>().unwrap();
        // A uniform image has no contrast to change.
        assert!(new.iter().all(|x| (x - 100.0).abs() <= 51.001));
        let (low, high) = new.iter().fold((255f32, 0f32), |(low, high), &x| (low.min(x), high.max(x)));
        assert!(low < 55.0 && high > 145.0, "{low} {high}");
        let augment = Augment { contrast: 0.5, ..Augment::default() };
        let old = images().to_vec::<f32>().unwrap();
        let new = varied(&augment, &rows, KEY);
        let unclipped = |x: f32| x > 0.0 && x < 255.0;
        let spread = |image: &[f32]| {
            let (low, high) = image.iter().fold((255f32, 0f32), |(low, high), &x| (low.min(x), high.max(x)));
            high - low
        };
        for (old, new) in old.chunks(96).zip(new.chunks(96)).filter(|(_, new)| new.iter().all(|&x| unclipped(x))) {
            let factor = spread(new) / spread(old);
            assert!((0.49..=1.51).contains(&factor), "{factor}");
        }
    }

    #[test]
    fn mixing_keeps_sums_and_draws_shares_from_a_beta_distribution() {
        let augment = Augment { mixup: 0.4, ..Augment::default() };
        let rows: Vec<usize> = (0..4000).collect();
        let targets = Tensor::eye(4000, gradus_core::DType::F32, gradus_core::Device::CPU).unwrap();
        let mixed = augment.mix(&targets, &rows, KEY).unwrap();
        let sums = mixed.sum(&[1]).unwrap().to_vec::<f32>().unwrap();
        assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-6));
        let shares: Vec<f64> =
            rows.iter().map(|&row| f64::from(augment.share(KEY.numbered(row as u64).named("mixup")))).collect();
        let mean = shares.iter().sum::<f64>() / 4000.0;
        let variance = shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / 4000.0;
        // The variance is 1 / (4 (2 a + 1)); three standard errors.
        assert!((mean - 0.5).abs() < 0.018 && (variance - 1.0 / 7.2).abs() < 0.006, "{mean} {variance}");
    }

    #[test]
    fn samples_that_are_no_images_are_refused() {
        let rows = Tensor::from_slice(&[1f32, 2.0], &[1, 2]).unwrap();
        let error = all().apply(&rows, &[0], 1.0, KEY).unwrap_err().to_string();
        assert_eq!(error, "[data.augment] is for images, and a sample has shape [2]; leave it out");
        assert!(Augment::default().is_nothing() && !all().is_nothing());
    }
}
