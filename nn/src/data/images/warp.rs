//! Moving an image: mirrored, shifted, turned, enlarged, in one pass over its pixels.

use crate::named::named;

named! {
    /// What stands where a moved image does not reach.
    #[derive(Copy, Default)]
    Fill "fill" {
        /// 0, which is black.
        #[default]
        Zero = "zero";
        /// The nearest pixel of the border.
        Edge = "edge";
        /// The image mirrored at its border, the pixels of the border twice: `c b a | a b c | c b a`.
        Reflect = "reflect";
    }
}

impl Fill {
    fn complaint(&self) -> Option<&'static str> {
        None
    }

    /// The pixel of `0..len` that stands at place `at`, if one does.
    fn place(self, at: i64, len: usize) -> Option<usize> {
        let len = len as i64;
        let inside = match self {
            _ if (0..len).contains(&at) => at,
            Fill::Zero => return None,
            Fill::Edge => at.clamp(0, len - 1),
            Fill::Reflect => {
                let at = at.rem_euclid(2 * len);
                if at < len { at } else { 2 * len - 1 - at }
            }
        };
        Some(inside as usize)
    }
}

/// Where each pixel of a new image comes from: about the centre of the image, `old = matrix * new + shift`, in pixels,
/// down before right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Motion {
    pub(super) matrix: [[f64; 2]; 2],
    pub(super) shift: [f64; 2],
}

impl Motion {
    /// The motion that turns clockwise by `angle` (in radians) and enlarges by `zoom`, after mirroring as `mirror` says: -1 for the
    /// directions that are exchanged, else 1.
    pub(super) fn new(mirror: [f64; 2], angle: f64, zoom: f64, shift: [f64; 2]) -> Self {
        // A plain mirroring or shift then copies pixels without rounding.
        let (sin, cos) = if angle == 0.0 { (0.0, 1.0) } else { angle.sin_cos() };
        let row = |mirror: f64, [down, right]: [f64; 2]| [mirror * down / zoom, mirror * right / zoom];
        Self { matrix: [row(mirror[0], [cos, -sin]), row(mirror[1], [sin, cos])], shift }
    }

    /// Whether nothing moves.
    pub(super) fn is_identity(&self) -> bool {
        *self == Self::new([1.0; 2], 0.0, 1.0, [0.0; 2])
    }

    /// Moves the image `pixels` of this height, width and number of channels into `out`.
    pub(super) fn apply(&self, pixels: &[f32], [height, width, channels]: [usize; 3], fill: Fill, out: &mut [f32]) {
        let centre = |len: usize| (len as f64 - 1.0) / 2.0;
        let (middle, centre) = (centre(height), centre(width));
        for (y, row) in out.chunks_exact_mut(width * channels).enumerate() {
            for (x, pixel) in row.chunks_exact_mut(channels).enumerate() {
                let new = [y as f64 - middle, x as f64 - centre];
                let old = |i: usize| self.matrix[i][0] * new[0] + self.matrix[i][1] * new[1] + self.shift[i];
                pixel.fill(0.0);
                for (row, of_row) in neighbours(old(0) + middle) {
                    for (column, of_column) in neighbours(old(1) + centre) {
                        let place = (fill.place(row, height), fill.place(column, width));
                        let (weight, (Some(row), Some(column))) = (of_row * of_column, place) else { continue };
                        let from = &pixels[(row * width + column) * channels..][..channels];
                        pixel.iter_mut().zip(from).for_each(|(sum, &value)| *sum += weight * value);
                    }
                }
            }
        }
    }
}

/// The whole places around `at`, with the weights of linear interpolation; one alone where `at` is whole.
fn neighbours(at: f64) -> impl Iterator<Item = (i64, f32)> {
    let low = at.floor();
    let share = (at - low) as f32;
    [(low as i64, 1.0 - share), (low as i64 + 1, share)].into_iter().filter(|(_, weight)| *weight > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(motion: Motion, fill: Fill) -> Vec<f32> {
        let pixels: Vec<f32> = (1..=12).map(|x| x as f32).collect();
        let mut out = vec![f32::NAN; 12];
        motion.apply(&pixels, [3, 4, 1], fill, &mut out);
        out
    }

    #[test]
    fn mirrors_and_whole_shifts_copy_pixels() {
        let still = [0.0; 2];
        assert!(Motion::new([1.0; 2], 0.0, 1.0, still).is_identity());
        let right = moved(Motion::new([1.0, -1.0], 0.0, 1.0, still), Fill::Zero);
        assert_eq!(right, [4.0, 3.0, 2.0, 1.0, 8.0, 7.0, 6.0, 5.0, 12.0, 11.0, 10.0, 9.0]);
        let down = moved(Motion::new([-1.0, 1.0], 0.0, 1.0, still), Fill::Zero);
        assert_eq!(down[..4], [9.0, 10.0, 11.0, 12.0]);
        let shifted = |fill| moved(Motion::new([1.0; 2], 0.0, 1.0, [0.0, 2.0]), fill)[..4].to_vec();
        assert_eq!(shifted(Fill::Zero), [3.0, 4.0, 0.0, 0.0]);
        assert_eq!(shifted(Fill::Edge), [3.0, 4.0, 4.0, 4.0]);
        assert_eq!(shifted(Fill::Reflect), [3.0, 4.0, 4.0, 3.0]);
    }

    #[test]
    fn a_quarter_turn_is_clockwise() {
        let mut out = vec![0f32; 4];
        let turn = Motion::new([1.0; 2], std::f64::consts::FRAC_PI_2, 1.0, [0.0; 2]);
        turn.apply(&[1.0, 2.0, 3.0, 4.0], [2, 2, 1], Fill::Edge, &mut out);
        let close = |wanted: [f32; 4]| out.iter().zip(wanted).all(|(x, y)| (x - y).abs() < 1e-6);
        assert!(close([3.0, 1.0, 4.0, 2.0]), "{out:?}");
    }

    #[test]
    fn half_a_pixel_is_the_mean_of_two() {
        let half = moved(Motion::new([1.0; 2], 0.0, 1.0, [0.0, 0.5]), Fill::Zero);
        assert_eq!(half[..4], [1.5, 2.5, 3.5, 2.0]);
        let large = moved(Motion::new([1.0; 2], 0.0, 2.0, [0.0; 2]), Fill::Edge);
        assert_eq!(large[4..8], [5.75, 6.25, 6.75, 7.25]);
    }
}
