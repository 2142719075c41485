//! The data inside the binary.

/// The bytes of a file of a bundled data set, as its package ships them.
#[cfg(feature = "bundled-data")]
pub fn file(source: &str, name: &str) -> Option<&'static [u8]> {
    macro_rules! bundled {
        ($($source:literal / $name:literal = $file:literal),* $(,)?) => {
            match (source, name) {
                $(($source, $name) => Some(include_bytes!(concat!("../../data/", $source, "/", $file)).as_slice()),)*
                _ => None,
            }
        };
    }
    bundled! {
        "fashion-mnist" / "train-images-idx3-ubyte" = "train-images-idx3-ubyte.gz",
        "fashion-mnist" / "train-labels-idx1-ubyte" = "train-labels-idx1-ubyte.gz",
        "fashion-mnist" / "t10k-images-idx3-ubyte" = "t10k-images-idx3-ubyte.gz",
        "fashion-mnist" / "t10k-labels-idx1-ubyte" = "t10k-labels-idx1-ubyte.gz",
        "digits" / "digits.csv" = "digits.csv.gz",
        "alice" / "alice29.txt" = "alice29.txt",
    }
}

/// Without the feature `bundled-data` there is none.
#[cfg(not(feature = "bundled-data"))]
pub fn file(_source: &str, _name: &str) -> Option<&'static [u8]> {
    None
}
