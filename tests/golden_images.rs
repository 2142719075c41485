//! Resized images against PyTorch, Keras and Pillow: the file `tests/golden/images.safetensors`, made by the script beside it.

mod golden;

use gradus::nn::data::images::resize;

#[test]
fn resized_images_agree_with_pytorch_keras_and_pillow() {
    let cases = golden::read(include_bytes!("golden/images.safetensors"));
    let mut failures = Vec::new();
    for case in &cases {
        let size = [0, 1].map(|i| case.attributes["size"][i].as_u64().unwrap() as usize);
        let method = case.attributes["method"].as_str().unwrap().parse().unwrap();
        let ours = resize(&case.tensor("x").unwrap(), size, method).unwrap();
        let apart = golden::distance(&ours, &case.tensor("y").unwrap());
        // Pixels are f32, those of JAX and Pillow too; the values lie between 0 and 1.
        if apart > 5e-7 {
            failures.push(format!("{}: {apart:e} apart", case.name));
        }
    }
    assert!(failures.is_empty(), "of {} cases these differ:\n{}", cases.len(), failures.join("\n"));
    assert_eq!(cases.len(), 42);
}
