//! The sizes of this machine's caches, which decide how kernels cut their work into blocks, and values in lines of their own.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

/// A value in lines of the cache that it shares with no other, of which a core that fetches one may take its neighbour too. For what
/// several threads change, and for what one changes while others read something else.
#[derive(Debug)]
#[repr(align(128))]
pub struct Line<T>(pub T);

/// Bytes of each level that one core can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caches {
    /// The first level's part for data.
    pub l1: usize,
    /// The second level.
    pub l2: usize,
    /// The last level, shared by all cores.
    pub l3: usize,
}

/// A small machine's caches, where the system does not say.
const MODEST: Caches = Caches { l1: 32 << 10, l2: 512 << 10, l3: 4 << 20 };

/// This machine's caches.
pub fn caches() -> Caches {
    static CACHES: OnceLock<Caches> = OnceLock::new();
    *CACHES.get_or_init(|| reported(Path::new("/sys/devices/system/cpu/cpu0/cache")))
}

/// What Linux reports below `folder`: there, each `index*` folder describes one cache.
fn reported(folder: &Path) -> Caches {
    let mut found = MODEST;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let read = |name| fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        let Some(size) = bytes(read("size").trim()) else { continue };
        match (read("level").trim(), read("type").trim()) {
            ("1", "Data" | "Unified") => found.l1 = size,
            ("2", _) => found.l2 = size,
            ("3", _) => found.l3 = size,
            _ => {}
        }
    }
    found
}

/// The number in `48K` or `2M`, in bytes; nothing if it is not a sensible size.
fn bytes(text: &str) -> Option<usize> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let shift = match unit {
        "K" => 10,
        "M" => 20,
        _ => return None,
    };
    let size = digits.parse::<usize>().ok()?.checked_shl(shift)?;
    (4096..1 << 40).contains(&size).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_or_guessed() {
        assert_eq!(bytes("48K"), Some(49_152));
        assert_eq!(bytes("2M"), Some(2 << 20));
        for nonsense in ["", "K", "0K", "x", "12", "é"] {
            assert_eq!(bytes(nonsense), None, "{nonsense}");
        }
        assert_eq!(reported(Path::new("/nowhere")), MODEST);
        assert!(caches().l1 >= 4096);
    }
}
