//! The front door of gradus.
