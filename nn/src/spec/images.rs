//! `size`, `resize`, `crop` and `channels` in `[data]`, and `[data.augment]`: what happens to images.

use super::optimizer::{fill, share};
use super::{Table, Writer};
use crate::Result;
use crate::data::{Augment, Preparation};

/// Takes the keys of `[data]` that say how images are prepared.
pub(super) fn read_preparation(table: &mut Table) -> Result<Preparation> {
    let mut area = |key| {
        let sides = |sides: &Vec<usize>| sides.len() == 2 && sides.iter().all(|&side| side > 0);
        let sides = table.take_if(key, "a height and a width, as in [32, 32]", sides)?;
        Ok::<_, crate::Error>(sides.and_then(|sides: Vec<usize>| sides.try_into().ok()))
    };
    let (size, crop) = (area("size")?, area("crop")?);
    let resampling = table.take_named("resize")?.unwrap_or_default();
    let channels = table.take_if("channels", "1 for grey values or 3 for colours", |&count| [1, 3].contains(&count))?;
    Ok(Preparation { size, resampling, crop, channels })
}

/// Writes what [`read_preparation`] reads.
pub(super) fn write_preparation(how: &Preparation, out: &mut Writer) {
    if let Some(size) = &how.size {
        out.put_sizes("size", size);
        out.put_named("resize", how.resampling);
    }
    if let Some(crop) = &how.crop {
        out.put_sizes("crop", crop);
    }
    if let Some(channels) = how.channels {
        out.put_number("channels", channels);
    }
}

/// Takes `[data.augment]`.
pub(super) fn read_augment(table: &mut Table) -> Result<Augment> {
    let mut augment = Augment::default();
    let Some(mut table) = table.take_table("augment")? else { return Ok(augment) };
    table.title = "[data.augment]".into();
    fill(&mut augment.flip, table.take_named("flip")?);
    fill(&mut augment.shift, share(&mut table, "shift")?);
    fill(
        &mut augment.crop,
        table.take_if("crop", "a whole number of pixels, up to 1000", |&pixels: &usize| pixels <= 1000)?,
    );
    let degrees = |&angle: &f64| (0.0..=180.0).contains(&angle);
    fill(&mut augment.rotate, table.take_if("rotate", "an angle from 0 to 180 degrees", degrees)?);
    fill(&mut augment.zoom, share(&mut table, "zoom")?);
    fill(&mut augment.fill, table.take_named("fill")?);
    let part = |&part: &f64| (0.0..=1.0).contains(&part);
    let mut part = |key| table.take_if(key, "a number from 0 to 1", part);
    fill(&mut augment.brightness, part("brightness")?);
    fill(&mut augment.contrast, part("contrast")?);
    fill(&mut augment.erase, part("erase")?);
    fill(&mut augment.mixup, part("mixup")?);
    table.finish()?;
    Ok(augment)
}

/// Writes what [`read_augment`] reads.
pub(super) fn write_augment(augment: &Augment, out: &mut Writer) {
    if augment.is_nothing() {
        return;
    }
    out.put_named("augment.flip", augment.flip);
    out.put_number("augment.crop", augment.crop);
    out.put_named("augment.fill", augment.fill);
    for (key, value) in [
        ("augment.shift", augment.shift),
        ("augment.rotate", augment.rotate),
        ("augment.zoom", augment.zoom),
        ("augment.brightness", augment.brightness),
        ("augment.contrast", augment.contrast),
        ("augment.erase", augment.erase),
        ("augment.mixup", augment.mixup),
    ] {
        out.put(key, value);
    }
}
