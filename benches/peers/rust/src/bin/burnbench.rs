//! burn with its flex backend. Usage: burnbench flex elem | train mlp|bnmlp|ae | epoch; threads: RAYON_NUM_THREADS

use std::hint::black_box;

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::module::layer_norm;
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use gradus_peers::{AUTOENCODER, Images, Random, emit, threads, time_calls};

const PEER: &str = "burn-flex";

#[derive(Module, Debug)]
struct Network {
    norms: Vec<BatchNorm>,
    layers: Vec<Linear>,
    slope: f64,
}

impl Network {
    fn new(model: &str, device: &Device) -> Network {
        let sizes: &[usize] = if model == "ae" { &AUTOENCODER } else { &[784, 300, 100, 10] };
        let norms = if model == "bnmlp" { &sizes[..sizes.len() - 1] } else { &[] };
        Network {
            norms: norms.iter().map(|&size| BatchNormConfig::new(size).init(device)).collect(),
            layers: sizes.windows(2).map(|pair| LinearConfig::new(pair[0], pair[1]).init(device)).collect(),
            slope: if model == "mlp" { 0.3 } else { 0.0 },
        }
    }

    fn forward(&self, mut x: Tensor<2>) -> Tensor<2> {
        for (i, layer) in self.layers.iter().enumerate() {
            if let Some(norm) = self.norms.get(i) {
                x = norm.forward(x);
            }
            x = layer.forward(x);
            if i + 1 < self.layers.len() {
                x = if self.slope == 0.0 { activation::relu(x) } else { activation::leaky_relu(x, self.slope) };
            }
        }
        x
    }
}

fn loss(model: &str, net: &Network, x: Vec<f32>, y: Vec<i64>, device: &Device) -> Tensor<1> {
    let count = y.len();
    let x = Tensor::<2>::from_data(TensorData::new(x, [count, 784]), device);
    let out = net.forward(x.clone());
    if model == "ae" {
        return ((x.neg() + 1.0) * out.clone() - activation::log_sigmoid(out)).mean();
    }
    let y = Tensor::<1, Int>::from_data(TensorData::new(y, [count]), device);
    CrossEntropyLossConfig::new().init(device).forward(out, y)
}

fn elementwise(device: &Device) {
    let mut random = Random(7);
    let mut matrix = |rows: usize, columns: usize| -> Tensor<2> {
        Tensor::from_data(TensorData::new(random.noise(rows * columns), [rows, columns]), device)
    };
    let time = |name: &str, bytes: usize, call: &dyn Fn() -> Tensor<2>| {
        let seconds = time_calls(|| {
            black_box(call());
            device.sync().expect("the device computes");
        });
        emit("D", PEER, name, threads(), "GB/s", seconds.into_iter().map(|s| 1e-9 * bytes as f64 / s).collect());
    };
    for (size, side) in [("1M", 1024), ("16M", 4096)] {
        let (x, z) = (matrix(side, side), matrix(side, side));
        let (ones, zeros): (Tensor<1>, Tensor<1>) = (Tensor::ones([side], device), Tensor::zeros([side], device));
        let all = side * side;
        time(&format!("relu {size}"), 8 * all, &|| activation::relu(x.clone()));
        time(&format!("exp {size}"), 8 * all, &|| x.clone().exp());
        time(&format!("tanh {size}"), 8 * all, &|| x.clone().tanh());
        time(&format!("sigmoid {size}"), 8 * all, &|| activation::sigmoid(x.clone()));
        time(&format!("gelu {size}"), 8 * all, &|| activation::gelu(x.clone()));
        time(&format!("add {size}"), 12 * all, &|| x.clone() + z.clone());
        time(&format!("mul scalar {size}"), 8 * all, &|| x.clone() * 1.5);
        time(&format!("sum axis0 {size}"), 4 * all, &|| x.clone().sum_dim(0));
        time(&format!("layernorm {size}"), 8 * all, &|| layer_norm(x.clone(), ones.clone(), Some(zeros.clone()), 1e-5));
    }
    let (logits, square) = (matrix(256, 1000), matrix(2048, 2048));
    time("softmax 256x1000", 8 * 256_000, &|| activation::softmax(logits.clone(), 1));
    // A transpose is a view until something reads it.
    time("transpose 2048", 8 << 22, &|| square.clone().transpose() + 0.0);
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let what = arguments[2].as_str();
    if what == "elem" {
        return elementwise(&Device::flex());
    }
    let device = Device::flex().autodiff();
    let model = arguments.get(3).map_or("mlp", String::as_str);
    let mut net = Network::new(model, &device);
    let mut optimizer: ModuleOptimizer =
        if model == "ae" { AdamConfig::new().init() } else { SgdConfig::new().init() };
    let step = |x: Vec<f32>, y: Vec<i64>| {
        let gradients = GradientsParams::from_grads(loss(model, &net, x, y, &device).backward(), &net);
        net = optimizer.step(1e-3, net.clone(), gradients);
        device.sync().expect("the device computes");
    };
    match what {
        "train" => Images::read().train(PEER, model, step),
        _ => Images::read().epoch(32, step),
    }
}
