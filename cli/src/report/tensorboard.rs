//! Event files for TensorBoard: records of protocol buffers, of which the few messages needed are written by hand.
//!
//! The messages are those of TensorFlow's `event.proto`, `summary.proto`, `histogram.proto`, `graph.proto` and
//! `attr_value.proto`; a record is framed as in `record_writer.cc`: length, checksum, bytes, checksum.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use image::RgbImage;
use nn::metrics::Histogram;
use nn::models::Row;

use super::images::png;

/// A file of events that grows.
#[derive(Debug)]
pub struct EventFile {
    file: File,
    /// Seconds since 1970.
    clock: fn() -> f64,
}

impl EventFile {
    /// Begins a file in `folder`, named as TensorBoard expects it.
    ///
    /// # Errors
    /// If the folder or the file cannot be made.
    pub fn create(folder: &Path) -> io::Result<EventFile> {
        fs::create_dir_all(folder)?;
        let path = folder.join(format!("events.out.tfevents.{:010}.gradus", now() as u64));
        EventFile::begin(OpenOptions::new().create(true).append(true).open(path)?, now)
    }

    fn begin(file: File, clock: fn() -> f64) -> io::Result<EventFile> {
        let mut events = EventFile { file, clock };
        events.event(0, |event| event.text(3, "brain.Event:2"))?;
        Ok(events)
    }

    /// Numbers by name; `loss/training` and `loss/validation` are shown together.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn scalars<'a>(&mut self, step: u64, values: impl IntoIterator<Item = (&'a str, f64)>) -> io::Result<()> {
        self.summary(step, values, |value, number| value.float(2, number as f32))
    }

    /// How the numbers of tensors are spread.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn histograms<'a>(
        &mut self,
        step: u64,
        values: impl IntoIterator<Item = (&'a str, &'a Histogram)>,
    ) -> io::Result<()> {
        self.summary(step, values, |value, histogram| {
            value.message(5, |message| {
                let Histogram { min, max, count, sum, sum_squares, parts } = histogram;
                for (field, number) in (1..).zip([*min, *max, *count as f64, *sum, *sum_squares]) {
                    message.double(field, number);
                }
                message.doubles(6, parts.iter().map(|part| part.0));
                message.doubles(7, parts.iter().map(|part| part.1 as f64));
            });
        })
    }

    /// A picture.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn image(&mut self, step: u64, name: &str, image: &RgbImage) -> io::Result<()> {
        self.summary(step, [(name, image)], |value, image| {
            value.message(4, |message| {
                for (field, number) in (1..).zip([image.height(), image.width(), 3]) {
                    message.integer(field, u64::from(number));
                }
                message.bytes(4, &png(image));
            });
        })
    }

    /// The layers of a model and who reads whom.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn graph(&mut self, layers: &[Row]) -> io::Result<()> {
        let mut graph = Message::default();
        for layer in layers {
            graph.message(1, |node| {
                node.text(1, &layer.name);
                node.text(2, layer.class);
                layer.inputs.iter().for_each(|input| node.text(3, input));
                node.message(5, |entry| {
                    entry.text(1, "_output_shapes");
                    // A value that is a list of one shape, whose first dimension, the batch, is unknown.
                    entry.message(2, |value| value.message(1, |list| list.message(7, |s| shape(s, &layer.shape))));
                });
            });
        }
        graph.message(4, |versions| versions.integer(1, 22));
        self.event(0, |event| event.bytes(4, &graph.0))
    }

    fn summary<'a, T>(
        &mut self,
        step: u64,
        values: impl IntoIterator<Item = (&'a str, T)>,
        write: impl Fn(&mut Message, T),
    ) -> io::Result<()> {
        self.event(step, |event| {
            event.message(5, |summary| {
                for (tag, content) in values {
                    summary.message(1, |value| {
                        value.text(1, tag);
                        write(value, content);
                    });
                }
            });
        })
    }

    fn event(&mut self, step: u64, write: impl FnOnce(&mut Message)) -> io::Result<()> {
        let mut event = Message::default();
        event.double(1, (self.clock)());
        event.integer(2, step);
        write(&mut event);
        // In one call, so that nobody who reads meanwhile sees half a record.
        self.file.write_all(&record(&event.0))
    }
}

fn shape(message: &mut Message, sizes: &[usize]) {
    // A size of -1 is written as its two's complement, as every negative int64.
    let sizes = std::iter::once(u64::MAX).chain(sizes.iter().map(|&size| size as u64));
    sizes.for_each(|size| message.message(2, |dimension| dimension.integer(1, size)));
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// A protocol buffer: fields with their numbers, one after the other.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    /// Seven bits a byte, the lowest first; the highest bit says that more follow.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u64, wire_type: u64) {
        self.varint(field << 3 | wire_type);
    }

    fn integer(&mut self, field: u64, value: u64) {
        self.key(field, 0);
        self.varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
    }

    fn float(&mut self, field: u64, value: f32) {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.key(field, 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn text(&mut self, field: u64, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    fn doubles(&mut self, field: u64, values: impl Iterator<Item = f64>) {
        self.bytes(field, &values.flat_map(f64::to_le_bytes).collect::<Vec<_>>());
    }

    fn message(&mut self, field: u64, write: impl FnOnce(&mut Message)) {
        let mut inner = Message::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }
}

/// The bytes of a record in a file of records.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked_crc32c(&length).to_le_bytes(), data, &masked_crc32c(data).to_le_bytes()].concat()
}

/// The checksum in the form that is stored: checksums of data that hold checksums are weak without it.
fn masked_crc32c(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The checksum of RFC 3720, with the reversed polynomial 0x82f63b78.
fn crc32c(data: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let mut rest = byte as u32;
            let mut bit = 0;
            while bit < 8 {
                rest = if rest & 1 == 1 { rest >> 1 ^ 0x82f6_3b78 } else { rest >> 1 };
                bit += 1;
            }
            table[byte] = rest;
            byte += 1;
        }
        table
    };
    !data.iter().fold(!0, |sum, &byte| TABLE[((sum ^ u32::from(byte)) & 0xff) as usize] ^ sum >> 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_rfc() {
        // RFC 3720, B.4, and the check value of the catalogue of CRCs.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!((crc32c(&[0; 32]), crc32c(&[0xff; 32])), (0x8a91_36aa, 0x62a8_ab43));
        // What TensorFlow writes around an empty record.
        assert_eq!(record(&[]), [0, 0, 0, 0, 0, 0, 0, 0, 0x29, 0x03, 0x98, 0x07, 0xd8, 0xea, 0x82, 0xa2]);
    }

    /// The file that TensorBoard's own reader read, see `tests/golden/README.md`.
    #[test]
    fn a_file_has_the_bytes_that_tensorboard_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let mut events = EventFile::begin(File::create(&path).unwrap(), || 1.7e9).unwrap();
        let layer = |name: &str, class, shape: &[usize], inputs: &[&str]| Row {
            name: name.into(),
            class,
            shape: shape.to_vec(),
            params: Default::default(),
            inputs: inputs.iter().map(|&input| input.to_owned()).collect(),
        };
        events.graph(&[layer("x", "Input", &[28, 28], &[]), layer("dense", "Dense", &[10], &["x"])]).unwrap();
        let parts = vec![(-0.5, 1), (0.0, 0), (1.5, 299)];
        let histogram = Histogram { min: -1.0, max: 1.5, count: 300, sum: 7.25, sum_squares: 99.5, parts };
        for step in [1, 300] {
            events.scalars(step, [("loss/training", 0.5 / step as f64), ("loss/validation", f64::NAN)]).unwrap();
            events.histograms(step, [("weights/dense.kernel", &histogram)]).unwrap();
        }
        events
            .image(300, "samples", &RgbImage::from_fn(3, 2, |x, y| image::Rgb([x as u8 * 90, y as u8 * 200, 7])))
            .unwrap();
        let ours = fs::read(&path).unwrap();
        if ours != include_bytes!("../../../tests/golden/events.tfevents") {
            let (kept, _) = (folder.keep(), ours);
            panic!("{}: not the bytes that TensorBoard read: let tests/golden/events.py read them", kept.display());
        }
    }

    #[test]
    fn fields_are_coded_as_the_specification_shows() {
        // The examples of the page on the encoding of protocol buffers.
        let mut message = Message::default();
        message.integer(1, 150);
        message.text(2, "testing");
        message.message(3, |inner| inner.integer(1, 150));
        assert_eq!(message.0, b"\x08\x96\x01\x12\x07testing\x1a\x03\x08\x96\x01");
        let mut minus_one = Message::default();
        minus_one.varint(u64::MAX);
        assert_eq!(minus_one.0, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    }
}
