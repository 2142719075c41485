//! Images as samples: bringing them into one form, and varying them in training.

mod augment;
mod preparation;
mod resize;
mod warp;

pub use self::augment::{Augment, Flip};
pub use self::preparation::Preparation;
pub use self::resize::{Resampling, resize};
pub use self::warp::Fill;

/// Height, width and channels of images that are stored as `[height, width]` or `[height, width, channels]`; `None` for samples
/// of another shape.
pub fn frame(sample: &[usize]) -> Option<[usize; 3]> {
    match *sample {
        [height, width] => Some([height, width, 1]),
        [height, width, channels] => Some([height, width, channels]),
        _ => None,
    }
}
