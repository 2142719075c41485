//! Images as samples: folders whose subfolders are classes, and sheets of many small images.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageError, ImageFormat, ImageReader};
use nn::core::Tensor;
use nn::data::Dataset;
use nn::data::images::resize;
use nn::spec::DataSpec;

use super::Piece;
use crate::failure::{Failure, Kind};

/// Height and width of an image on a sheet.
const TILE: usize = 32;
/// The tiles of a sheet show the classes in turn.
const SHEET_CLASSES: usize = 10;

/// A picture of more pixels is refused: as red, green and blue it would take more than 300 MB.
const MOST_PIXELS: u64 = 100_000_000;

/// Reads sheets of CIFAR-10: pictures of tiles of 32 x 32, row by row; tile number `i`, counted over all sheets, is of class
/// `i % 10`.
///
/// # Errors
/// If a sheet is missing, damaged, or no whole number of tiles wide or high.
pub fn sheets(name: &str, paths: &[PathBuf], classes: Vec<String>) -> Result<Dataset, Failure> {
    let mut pixels: Vec<u8> = Vec::new();
    for path in paths {
        let image = decode(path)?.to_rgb8();
        let (width, height) = (image.width() as usize, image.height() as usize);
        if width == 0 || height == 0 || !width.is_multiple_of(TILE) || !height.is_multiple_of(TILE) {
            let text = format!("{}: {width}x{height} pixels are no sheet of tiles of {TILE}x{TILE}", path.display());
            return Err(Failure::new(Kind::Data, text));
        }
        let rows: Vec<&[u8]> = image.as_raw().chunks(3 * TILE).collect();
        let across = width / TILE;
        for tile in 0..across * (height / TILE) {
            let (down, left) = (tile / across * TILE, tile % across);
            (down..down + TILE).for_each(|row| pixels.extend_from_slice(rows[row * across + left]));
        }
    }
    let count = pixels.len() / (3 * TILE * TILE);
    let labels: Vec<u8> = (0..count).map(|tile| (tile % SHEET_CLASSES) as u8).collect();
    dataset(name, &pixels, &[count, TILE, TILE, 3], &labels, classes)
}

/// Reads a folder of images whose subfolders are the classes, in the order of their names; `like` is the part for training,
/// which the images of another part must match. Adds what was read to `pieces`.
///
/// # Errors
/// If there is no such folder, no class, a class without images, or an image that is damaged or of another size.
pub fn folder(
    root: &Path,
    spec: &DataSpec,
    like: Option<&Dataset>,
    pieces: &mut Vec<Piece>,
) -> Result<Dataset, Failure> {
    let refuse = |what: String| Failure::new(Kind::Data, format!("{}: {what}", root.display()));
    let classes: Vec<String> = entries(root)?
        .into_iter()
        .filter(|path| path.is_dir())
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .collect();
    if classes.is_empty() {
        return Err(refuse("no folder is in it; each class of images needs one".into()));
    }
    if let Some(like) = like.filter(|like| like.classes != classes) {
        let (here, there) = (classes.join(", "), like.classes.join(", "));
        return Err(refuse(format!("its classes are {here}, and those for training {there}")));
    }
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    let mut layout = like.map(|like| like.sample_shape().to_vec());
    for (label, class) in classes.iter().enumerate() {
        let label = u8::try_from(label).map_err(|_| refuse(format!("{} classes; 256 is the most", classes.len())))?;
        let images: Vec<PathBuf> = entries(&root.join(class))?.into_iter().filter(|path| is_image(path)).collect();
        if images.is_empty() {
            return Err(refuse(format!("the class {class} has no PNG or JPEG images")));
        }
        for path in images {
            let image = decode(&path)?;
            let (shape, bytes) = sample(image, spec, layout.as_deref())?;
            let wanted = layout.get_or_insert_with(|| shape.clone());
            if *wanted != shape {
                let what = format!("{}: an image of {shape:?}, where others are {wanted:?}", path.display());
                let mend = "to resize all, add size = [HEIGHT, WIDTH] to [data]";
                return Err(Failure::new(Kind::Data, format!("{what}; {mend}")));
            }
            pixels.extend(bytes);
            labels.push(label);
            pieces.push(piece(class, &path));
        }
    }
    let shape: Vec<usize> = std::iter::once(labels.len()).chain(layout.unwrap_or_default()).collect();
    dataset(&root.display().to_string(), &pixels, &shape, &labels, classes)
}

/// The shape of an image, `[height, width]` or `[height, width, 3]`, and its pixels. As many colours as in `like`, if given.
fn sample(image: DynamicImage, spec: &DataSpec, like: Option<&[usize]>) -> nn::Result<(Vec<usize>, Vec<u8>)> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let grey = spec.grey.or(like.map(|shape| shape.len() == 2)).unwrap_or(!image.color().has_color());
    let (shape, pixels) = match grey {
        true => (vec![height, width], image.to_luma8().into_raw()),
        false => (vec![height, width, 3], image.to_rgb8().into_raw()),
    };
    match spec.images.size.filter(|size| *size != [height, width]) {
        None => Ok((shape, pixels)),
        Some([height, width]) => {
            let image = Tensor::from_slice(&pixels, &[&[1], &shape[..]].concat())?;
            let pixels = resize(&image, [height, width], spec.images.resampling)?.to_vec::<f32>()?;
            let shape = [&[height, width], &shape[2..]].concat();
            Ok((shape, pixels.into_iter().map(|pixel| pixel.round() as u8).collect()))
        }
    }
}

fn dataset(
    name: &str,
    pixels: &[u8],
    shape: &[usize],
    labels: &[u8],
    classes: Vec<String>,
) -> Result<Dataset, Failure> {
    let images = Tensor::from_slice(pixels, shape).map_err(nn::Error::from)?;
    let labels = Tensor::from_slice(labels, &[labels.len()]).map_err(nn::Error::from)?;
    Ok(Dataset::new(name, images, labels, classes)?)
}

/// What is in a folder, in the order of names; hidden entries are left out.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable =
        |error| Failure::new(Kind::Data, format!("{}: the folder cannot be read: {error}", folder.display()));
    let entries = fs::read_dir(folder).map_err(unreadable)?;
    let mut paths = entries.map(|entry| Ok(entry.map_err(unreadable)?.path())).collect::<Result<Vec<_>, Failure>>()?;
    paths.retain(|path| !path.file_name().unwrap_or_default().to_string_lossy().starts_with('.'));
    paths.sort();
    Ok(paths)
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
    ["png", "jpg", "jpeg"].iter().any(|known| extension == *known)
}

fn piece(class: &str, path: &Path) -> Piece {
    let bytes = path.metadata().map_or(0, |metadata| metadata.len());
    Piece { name: class.to_owned(), path: Some(path.display().to_string()), bytes, sha256: None }
}

/// Reads a PNG or JPEG file; content tells which, not the name.
fn decode(path: &Path) -> Result<DynamicImage, Failure> {
    let refuse = |what: String| Failure::new(Kind::Data, format!("{}: {what}", path.display()));
    let bytes = fs::read(path).map_err(|error| refuse(error.to_string()))?;
    match picture_format(&bytes) {
        Some(format) => decode_picture(&path.display().to_string(), &bytes, format),
        None => Err(refuse("neither a PNG nor a JPEG image".into())),
    }
}

/// Which of the formats that are read the content says, if one.
pub fn picture_format(bytes: &[u8]) -> Option<ImageFormat> {
    image::guess_format(bytes).ok().filter(|format| matches!(format, ImageFormat::Png | ImageFormat::Jpeg))
}

/// Decodes a picture; `name` is what a refusal calls it.
///
/// # Errors
/// If it is damaged or cut off, or says that it has more than [`MOST_PIXELS`]: that is looked at before memory is taken.
pub fn decode_picture(name: &str, bytes: &[u8], format: ImageFormat) -> Result<DynamicImage, Failure> {
    let refuse = |what: String| Failure::new(Kind::Data, format!("{name}: {what}"));
    let damaged = |error: ImageError| refuse(format!("a damaged or cut off image: {error}"));
    let reader = || ImageReader::with_format(Cursor::new(bytes), format);
    let (width, height) = reader().into_dimensions().map_err(damaged)?;
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        let what = format!("an image of {width}x{height} pixels, where {MOST_PIXELS} are the most");
        return Err(refuse(format!("{what}; make it smaller first")));
    }
    reader().decode().map_err(damaged)
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;

    fn save(path: &Path, width: u32, height: u32, colour: impl Fn(u32, u32) -> [u8; 3]) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        RgbImage::from_fn(width, height, |x, y| Rgb(colour(x, y))).save(path).unwrap();
    }

    #[test]
    fn a_sheet_is_cut_row_by_row() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train_00.png");
        save(&path, 64, 96, |x, y| [(x / 32 + y / 32 * 2) as u8, (x % 32) as u8, (y % 32) as u8]);
        let set = sheets("tiles", &[path.clone(), path], Vec::new()).unwrap();
        assert_eq!(set.inputs.shape(), [12, 32, 32, 3]);
        let pixels = set.inputs.to_vec::<u8>().unwrap();
        for (tile, image) in pixels.chunks(3 * 32 * 32).enumerate() {
            for (i, pixel) in image.chunks(3).enumerate() {
                assert_eq!(pixel, [(tile % 6) as u8, (i % 32) as u8, (i / 32) as u8]);
            }
        }
        assert_eq!(set.targets.to_vec::<i64>().unwrap(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
    }

    /// A PNG that says it is of `width` x `height`, with the checksum that such a header has, and ends where its pixels begin.
    fn png_header(width: u32, height: u32) -> Vec<u8> {
        let mut chunk = b"IHDR".to_vec();
        chunk.extend(width.to_be_bytes().into_iter().chain(height.to_be_bytes()).chain([8, 2, 0, 0, 0]));
        let mut check = flate2::Crc::new();
        check.update(&chunk);
        [b"\x89PNG\r\n\x1a\n\0\0\0\x0d".as_slice(), &chunk, &check.sum().to_be_bytes(), b"\0\0\0\x40IDAT"].concat()
    }

    #[test]
    fn hostile_pictures_are_refused_before_memory_is_taken() {
        let refusal = |bytes: &[u8]| {
            let format = picture_format(bytes).unwrap();
            decode_picture("x", bytes, format).unwrap_err().to_string()
        };
        let huge = refusal(&png_header(60_000, 60_000));
        assert_eq!(huge, "x: an image of 60000x60000 pixels, where 100000000 are the most; make it smaller first");
        let short = refusal(&png_header(10, 10));
        assert!(short.starts_with("x: a damaged or cut off image: "), "{short}");
        let picture = RgbImage::from_fn(40, 30, |x, y| Rgb([x as u8, y as u8, (x * y) as u8]));
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let mut bytes = Cursor::new(Vec::new());
            picture.write_to(&mut bytes, format).unwrap();
            let bytes = bytes.into_inner();
            assert_eq!(decode_picture("x", &bytes, format).unwrap().width(), 40);
            for share in [2, 4] {
                let text = refusal(&bytes[..bytes.len() / share]);
                assert!(text.starts_with("x: a damaged or cut off image: "), "{format:?}: {text}");
            }
        }
        assert!(picture_format(b"GIF89a....").is_none());
    }

    #[test]
    fn subfolders_are_classes() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        save(&path("train/cat/b.png"), 4, 3, |_, _| [2, 2, 2]);
        save(&path("train/cat/a.PNG"), 4, 3, |_, _| [1, 1, 1]);
        save(&path("train/ant/z.png"), 4, 3, |_, _| [9, 0, 0]);
        fs::write(path("train/cat/.hidden.png"), "").unwrap();
        fs::write(path("train/cat/notes.txt"), "").unwrap();
        let mut spec = DataSpec::new("folder");
        let mut pieces = Vec::new();
        let set = folder(&path("train"), &spec, None, &mut pieces).unwrap();
        assert_eq!((set.inputs.shape(), set.classes.join(" ")), (&[3, 3, 4, 3][..], "ant cat".into()));
        assert_eq!((set.targets.to_vec::<i64>().unwrap(), pieces.len()), (vec![0, 1, 1], 3));
        assert_eq!(set.inputs.to_vec::<u8>().unwrap()[36..37], [1]);

        spec.grey = Some(true);
        spec.images.size = Some([2, 2]);
        let grey = folder(&path("train"), &spec, None, &mut pieces).unwrap();
        assert_eq!((grey.inputs.shape(), grey.inputs.to_vec::<u8>().unwrap()[4]), (&[3, 2, 2][..], 1));

        let refusal = |root: &str, like| {
            folder(&path(root), &DataSpec::new("folder"), like, &mut Vec::new()).unwrap_err().to_string()
        };
        save(&path("test/cat/a.png"), 4, 3, |_, _| [0; 3]);
        assert!(refusal("test", Some(&set)).ends_with("its classes are cat, and those for training ant, cat"));
        save(&path("train/cat/c.png"), 5, 3, |_, _| [0; 3]);
        assert!(
            refusal("train", None)
                .contains("an image of [3, 5, 3], where others are [3, 4, 3]; to resize all, add size")
        );
        fs::write(path("train/cat/a.PNG"), "no image").unwrap();
        assert!(refusal("train", None).contains("neither a PNG nor a JPEG image"));
        fs::create_dir(path("train/bee")).unwrap();
        assert!(refusal("train", None).contains("the class bee has no PNG or JPEG images"));
        assert!(refusal("nowhere", None).contains("the folder cannot be read"));
        assert!(refusal("test/cat", None).contains("no folder is in it"));
    }
}
