//! What the emulated device is, from the environment.

use std::str::FromStr;

/// What the environment says, or what is assumed where it says nothing or nothing that can be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// Bytes of memory.
    pub memory: u64,
    /// The compute capability.
    pub capability: (i32, i32),
    /// The version of CUDA, 12000 for 12.0.
    pub version: i32,
    /// Whether there is a device at all.
    pub has_device: bool,
    /// The most instructions of a block.
    pub steps: u64,
}

impl Settings {
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        fn number<T: FromStr>(text: Option<String>, otherwise: T) -> T {
            text.and_then(|text| text.trim().parse().ok()).unwrap_or(otherwise)
        }
        let capability = variable("GRADUS_EMULATED_CAPABILITY");
        let capability = capability.as_deref().and_then(|text| text.trim().split_once('.'));
        Self {
            memory: number(variable("GRADUS_EMULATED_MEMORY"), 8 << 30),
            capability: capability
                .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
                .unwrap_or((8, 0)),
            version: number(variable("GRADUS_EMULATED_DRIVER"), 12000),
            has_device: number(variable("GRADUS_EMULATED_DEVICES"), 1) > 0,
            steps: number(variable("GRADUS_EMULATED_STEPS"), 1 << 32),
        }
    }

    /// The newest PTX that a driver of this version reads: CUDA 11.x brought PTX 7.x, CUDA 12.x PTX 8.x.
    pub fn newest_ptx(&self) -> (i32, i32) {
        (self.version / 1000 - 4, self.version % 1000 / 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_makes_the_device() {
        let none = Settings::read(|_| None);
        assert_eq!((none.memory, none.capability, none.version, none.has_device), (8 << 30, (8, 0), 12000, true));
        assert_eq!(none.newest_ptx(), (8, 0));
        let old = Settings::read(|name| {
            Some(match name {
                "GRADUS_EMULATED_MEMORY" => "1000".to_owned(),
                "GRADUS_EMULATED_CAPABILITY" => "7.5".to_owned(),
                "GRADUS_EMULATED_DRIVER" => "11060".to_owned(),
                "GRADUS_EMULATED_DEVICES" => "0".to_owned(),
                _ => "what".to_owned(),
            })
        });
        assert_eq!((old.memory, old.capability, old.has_device, old.steps), (1000, (7, 5), false, 1 << 32));
        assert_eq!(old.newest_ptx(), (7, 6));
    }
}
