//! CIFAR-10 in the binary form of its makers (<https://www.cs.toronto.edu/~kriz/cifar.html>).

use std::io::{ErrorKind, Read};
use std::path::Path;

use gradus_core::Tensor;

use super::Dataset;
use super::input::Input;
use crate::Result;

/// Height and width of an image.
const SIDE: usize = 32;
/// Numbers in one plane of colour.
const PLANE: usize = SIDE * SIDE;
/// A record: the label, then the red, the green and the blue plane, each row by row.
const RECORD: usize = 1 + 3 * PLANE;
/// What an image can show.
const CLASSES: u8 = 10;

/// Reads batches of CIFAR-10 (`data_batch_1.bin`, …, packed by gzip or not) into one data set of images `[N, 32, 32, 3]` as
/// `u8`, the colours last as Keras has them.
///
/// Fails with [`Error::Data`](crate::Error::Data) if a file is not there, is cut off, or holds a label above 9.
pub fn read_cifar10(name: &str, paths: &[impl AsRef<Path>], classes: Vec<String>) -> Result<Dataset> {
    let mut inputs: Vec<Input> = paths.iter().map(|path| Input::open(path.as_ref())).collect::<Result<_>>()?;
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for input in &mut inputs {
        read_batch(input, &mut images, &mut labels)?;
    }
    let count = labels.len();
    let images = Tensor::from_slice(&images, &[count, SIDE, SIDE, 3])?;
    Dataset::new(name, images, Tensor::from_slice(&labels, &[count])?, classes)
}

fn read_batch(input: &mut Input, images: &mut Vec<u8>, labels: &mut Vec<u8>) -> Result<()> {
    let mut record = [0; RECORD];
    loop {
        let row = labels.len();
        // The label is read alone: where nothing follows it is the end, and anywhere else it is not.
        match input.read(&mut record[..1]) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(input.failed("a label", &error)),
        }
        input.read_exact(&mut record[1..]).map_err(|error| input.failed(&format!("image {row}"), &error))?;
        if record[0] >= CLASSES {
            let what = format!("image {row} has the label {}, and CIFAR-10 has 0 to 9", record[0]);
            return Err(input.damaged(what + "; is it the binary version (CIFAR-100 and the Python version are not)?"));
        }
        labels.push(record[0]);
        images.extend((0..PLANE).flat_map(|i| [0, 1, 2].map(|colour| record[1 + colour * PLANE + i])));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::data::input::tests::gzip;

    /// An image whose red counts up, whose green is `label`, and whose blue is 7.
    fn record(label: u8) -> Vec<u8> {
        let red = (0..PLANE).map(|i| i as u8);
        std::iter::once(label).chain(red).chain([label; PLANE]).chain([7; PLANE]).collect()
    }

    fn read(files: &[Vec<u8>]) -> Result<Dataset> {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<_> = (0..files.len()).map(|i| folder.path().join(format!("{i}.bin"))).collect();
        paths.iter().zip(files).for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
        read_cifar10("cifar10", &paths, Vec::new())
    }

    #[test]
    fn planes_become_pixels_and_files_follow_each_other() {
        let set = read(&[[record(3), record(9)].concat(), gzip(&record(0))]).unwrap();
        assert_eq!((set.inputs.shape(), set.targets.to_vec::<i64>().unwrap()), (&[3, 32, 32, 3][..], vec![3, 9, 0]));
        let pixels = set.inputs.to_vec::<u8>().unwrap();
        assert_eq!(pixels[..9], [0, 3, 7, 1, 3, 7, 2, 3, 7]);
        assert_eq!(pixels[3 * PLANE + 3 * 33..][..3], [33, 9, 7]);
    }

    #[test]
    fn damage_is_told() {
        let refusal = |bytes: &[u8]| match read(&[bytes.to_vec()]) {
            Err(Error::Data(text)) => text,
            other => panic!("{other:?}"),
        };
        let text = refusal(&record(1)[..100]);
        assert!(text.contains("truncated") && text.contains("image 0"), "{text}");
        assert!(refusal(&[record(1), record(10)].concat()).contains("image 1 has the label 10"));
        assert!(refusal(&[]).contains("there are no samples in it"));
    }
}
