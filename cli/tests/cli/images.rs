//! Networks for images: folders of pictures of any size, varied in training; their filters and feature maps.

use crate::Place;

const RECIPE: &str = r#"
seed = 3
[data]
source = "folder"
files.train = ["photos"]
scale = 255
size = [12, 10]
channels = 3
augment = { flip = "horizontal", crop = 1, rotate = 5, brightness = 0.1, erase = 0.2 }
split.test = "last:4"
[[layer]]
type = "conv2d"
filters = 4
kernel_size = 3
activation = "relu"
[[layer]]
type = "residual"
filters = 4
[[layer]]
type = "max_pool2d"
[[layer]]
type = "global_avg_pool2d"
[[layer]]
type = "dense"
units = 2
activation = "softmax"
[optimizer]
kind = "adam"
[train]
loss = "sparse_categorical_crossentropy"
epochs = 4
batch = 8
metrics = ["accuracy"]
"#;

/// Pictures of two colours and of many sizes.
fn photos(place: &Place) {
    for (class, colour) in [("sea", [20, 60, 200]), ("wood", [30, 150, 40])] {
        for i in 0..12u32 {
            let picture = image::RgbImage::from_fn(9 + i, 20 - i, |x, y| {
                image::Rgb(colour.map(|part: u32| (part + (x * 7 + y * 3 + i) % 40) as u8))
            });
            let mut bytes = std::io::Cursor::new(Vec::new());
            picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
            place.write(&format!("photos/{class}/{i}.png"), bytes.into_inner());
        }
    }
}

fn weights(place: &Place, run: &str) -> Vec<u8> {
    std::fs::read(place.path().join(run).join("model.safetensors")).unwrap()
}

#[test]
fn a_network_for_pictures_trains_to_the_same_bits_and_shows_what_is_inside() {
    let place = Place::new();
    photos(&place);
    place.write("net.toml", RECIPE);
    for threads in ["1", "3"] {
        place.ok(&["train", "net.toml", "--threads", threads, "-q"]);
    }
    assert_eq!(weights(&place, "runs/0001-net"), weights(&place, "runs/0002-net"));
    let text = place.ok(&["predict", "runs/0001-net", "photos/sea/3.png"]);
    assert!(text.contains("sea") && text.contains("wood"), "{text}");

    let text = place.ok(&["show", "filters", "runs/0001-net", "--most", "3"]);
    assert!(text.contains("conv2d: 3 of 4 filters of 3 x 3, 3 channels deep"), "{text}");
    assert!(text.contains("residual_conv1: 3 of 4 filters of 3 x 3, 4 channels deep"), "{text}");
    let text =
        place.ok(&["show", "maps", "runs/0001-net", "photos/sea/3.png", "--layer", "*pool*, conv2d", "--out", "m.png"]);
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        ["m.png", "conv2d: 4 of 4 channels, 10 x 8", "max_pooling2d: 4 of 4 channels, 5 x 4"]
    );
    for file in ["filters.png", "m.png"] {
        let picture = image::open(place.path().join(file)).unwrap();
        assert!(picture.width() > 200 && picture.height() > 100, "{file}");
    }
    place.fails(&["show", "maps", "runs/0001-net", "photos/sea/3.png", "--layer", "dense"], 2, &["no maps to show"]);
    place.fails(&["show", "filters", "runs/0001-net", "--layer", "conv3d"], 2, &["conv3d is none of the", "conv2d"]);
}

#[test]
fn pictures_that_cannot_be_used_are_told_in_one_line() {
    let place = Place::new();
    photos(&place);
    place.write("net.toml", RECIPE.replace("size = [12, 10]\n", ""));
    let refused = |code, texts: &[&str]| place.fails(&["train", "net.toml", "-q"], code, texts);
    refused(3, &["photos/sea/1.png: an image of", "to resize all, add size = [HEIGHT, WIDTH] to [data]"]);
    place.write("net.toml", RECIPE);
    let whole = std::fs::read(place.path().join("photos/wood/5.png")).unwrap();
    place.write("photos/wood/5.png", &whole[..whole.len() / 2]);
    refused(3, &["photos/wood/5.png: a damaged or cut off image"]);
    place.write("photos/wood/5.png", &whole);
    place.write("photos/fog/readme.txt", "no picture");
    refused(3, &["the class fog has no PNG or JPEG images"]);
    place.write("net.toml", RECIPE.replace("photos", "empty"));
    std::fs::create_dir(place.path().join("empty")).unwrap();
    refused(3, &["no folder is in it; each class of images needs one"]);
    place.write("net.toml", RECIPE.replace("flip = \"horizontal\"", "flip = \"sideways\""));
    refused(2, &["flip = \"sideways\" in [data.augment]: unknown flip"]);
}
