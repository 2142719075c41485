//! The data sets that have names, with the hashes of their files.

use crate::failure::{Failure, Kind, did_you_mean};

/// A data set that has a name.
#[derive(Debug, PartialEq)]
pub struct Source {
    /// What recipes call it.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// Its licence, as far as known.
    pub licence: &'static str,
    /// How its files are to be read.
    pub form: Form,
    /// The names of its classes, from class 0.
    pub classes: &'static [&'static str],
    /// The largest number in a sample: what white is in a picture.
    pub white: f64,
    /// Its files.
    pub files: &'static [File],
    /// Addresses that `data fetch` appends the names of the files to, best first.
    pub mirrors: &'static [&'static str],
    /// What Keras calls its single-file copy, if it keeps one.
    pub npz: Option<&'static str>,
    /// What torchvision calls its folder, if it knows the set.
    pub torchvision: Option<&'static str>,
    /// The archive that the makers publish, where there are no mirrors of single files.
    pub archive: Option<Archive>,
}

/// An archive that users unpack themselves.
#[derive(Debug, PartialEq, Eq)]
pub struct Archive {
    /// Where it is.
    pub address: &'static str,
    /// The folder that it unpacks into.
    pub folder: &'static str,
}

impl Source {
    /// The shape of one sample, if samples are arrays.
    pub fn sample_shape(&self) -> Option<&'static [usize]> {
        match self.form {
            Form::Idx => Some(&[28, 28]),
            Form::Table { shape } => Some(shape),
            Form::Cifar => Some(&[32, 32, 3]),
            Form::Text => None,
        }
    }
}

/// How the files of a data set are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Four IDX files: images and labels of a training and a test part.
    Idx,
    /// A table of numbers without a header, with the class in the last column; no test part of its own.
    Table {
        /// The shape of one sample.
        shape: &'static [usize],
    },
    /// Six binary files of CIFAR-10: five batches for training and one for the test; or sheets of images, see
    /// [`images::sheets`](super::images::sheets).
    Cifar,
    /// Text, which no layer reads as it is.
    Text,
}

/// A file of a data set.
#[derive(Debug, PartialEq, Eq)]
pub struct File {
    /// Its name, without `.gz`.
    pub name: &'static str,
    /// Whether mirrors keep it under its name with `.gz`; what is searched for is always both.
    pub gz: bool,
    /// How many bytes it has when unpacked.
    pub bytes: u64,
    /// SHA-256 of the unpacked bytes, in hexadecimal, if it is known: wrappers differ from mirror to mirror, the content does
    /// not.
    pub sha256: Option<&'static str>,
}

impl File {
    /// What mirrors call it.
    pub fn remote_name(&self) -> String {
        if self.gz { format!("{}.gz", self.name) } else { self.name.to_owned() }
    }
}

const DIGITS: &[&str] = &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
const CLOTHES: &[&str] =
    &["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

const fn idx(name: &'static str, bytes: u64, sha256: &'static str) -> File {
    File { name, gz: true, bytes, sha256: Some(sha256) }
}

const fn cifar(name: &'static str) -> File {
    File { name, gz: false, bytes: 10_000 * (1 + 3 * 32 * 32), sha256: None }
}

/// Every data set that has a name.
pub const SOURCES: &[Source] = &[
    Source {
        name: "fashion-mnist",
        about: "60,000 + 10,000 grey images of clothes, 28x28, 10 classes",
        licence: "MIT, Copyright 2017 Zalando SE",
        form: Form::Idx,
        classes: CLOTHES,
        white: 255.0,
        files: &[
            idx(
                "train-images-idx3-ubyte",
                47_040_016,
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            ),
            idx("train-labels-idx1-ubyte", 60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
            idx(
                "t10k-images-idx3-ubyte",
                7_840_016,
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            ),
            idx("t10k-labels-idx1-ubyte", 10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
        ],
        mirrors: &["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"],
        npz: None,
        torchvision: Some("FashionMNIST"),
        archive: None,
    },
    Source {
        name: "mnist",
        about: "60,000 + 10,000 grey images of handwritten digits, 28x28, 10 classes",
        licence: "LeCun, Cortes and Burges, from NIST's data; usually given as CC BY-SA 3.0",
        form: Form::Idx,
        classes: DIGITS,
        white: 255.0,
        files: &[
            idx(
                "train-images-idx3-ubyte",
                47_040_016,
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            idx("train-labels-idx1-ubyte", 60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
            idx(
                "t10k-images-idx3-ubyte",
                7_840_016,
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            idx("t10k-labels-idx1-ubyte", 10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
        ],
        mirrors: &[
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ],
        npz: Some("mnist.npz"),
        torchvision: Some("MNIST"),
        archive: None,
    },
    Source {
        name: "cifar10",
        about: "50,000 + 10,000 colour images of things and animals, 32x32, 10 classes",
        licence: "Krizhevsky 2009; free for research, no formal licence was ever given",
        form: Form::Cifar,
        classes: &["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
        white: 255.0,
        files: &[
            cifar("data_batch_1.bin"),
            cifar("data_batch_2.bin"),
            cifar("data_batch_3.bin"),
            cifar("data_batch_4.bin"),
            cifar("data_batch_5.bin"),
            cifar("test_batch.bin"),
        ],
        mirrors: &[],
        npz: None,
        torchvision: None,
        archive: Some(Archive {
            address: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            folder: "cifar-10-batches-bin",
        }),
    },
    Source {
        name: "digits",
        about: "1,797 grey images of handwritten digits, 8x8, values 0 to 16, 10 classes",
        licence: "UCI repository, E. Alpaydin and C. Kaynak, any use that names the authors",
        form: Form::Table { shape: &[8, 8] },
        classes: DIGITS,
        white: 16.0,
        files: &[File {
            name: "digits.csv",
            gz: true,
            bytes: 264_712,
            sha256: Some("6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"),
        }],
        mirrors: &["https://raw.githubusercontent.com/scikit-learn/scikit-learn/1.7.2/sklearn/datasets/data/"],
        npz: None,
        torchvision: None,
        archive: None,
    },
    Source {
        name: "alice",
        about: "the text of Alice's Adventures in Wonderland, 152,089 characters",
        licence: "public domain",
        form: Form::Text,
        classes: &[],
        white: 0.0,
        files: &[File {
            name: "alice29.txt",
            gz: false,
            bytes: 152_089,
            sha256: Some("7467306ee0feed4971260f3c87421154a05be571d944e9cb021a5713700c38f0"),
        }],
        mirrors: &["https://raw.githubusercontent.com/google/brotli/v1.1.0/tests/testdata/"],
        npz: None,
        torchvision: None,
        archive: None,
    },
];

/// The data set of this name.
///
/// # Errors
/// If there is none; the text names the nearest.
pub fn named(name: &str) -> Result<&'static Source, Failure> {
    SOURCES.iter().find(|source| source.name == name).ok_or_else(|| {
        let hint = did_you_mean(name, SOURCES.iter().map(|source| source.name));
        Failure::new(
            Kind::Usage,
            format!("unknown data set \"{name}\".{hint} `gradus data list` names all that are known."),
        )
    })
}
