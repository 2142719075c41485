//! candle. Usage: candlebench elem | train mlp|bnmlp|ae | epoch; threads: RAYON_NUM_THREADS

use std::hint::black_box;

use candle_core::{DType, Device, Module, ModuleT, Result, Tensor};
use candle_nn::{AdamW, BatchNorm, Linear, Optimizer, ParamsAdamW, SGD, VarBuilder, VarMap};
use candle_nn::{batch_norm, linear, loss, ops};
use gradus_peers::{AUTOENCODER, Images, Random, emit, threads, time_calls};

const PEER: &str = "candle";

struct Network {
    norms: Vec<BatchNorm>,
    layers: Vec<Linear>,
    slope: f64,
}

impl Network {
    fn new(model: &str, vars: &VarBuilder) -> Result<Network> {
        let sizes: &[usize] = if model == "ae" { &AUTOENCODER } else { &[784, 300, 100, 10] };
        let norms = if model == "bnmlp" { &sizes[..sizes.len() - 1] } else { &[] };
        let norm = |(i, &size): (usize, &usize)| batch_norm(size, 1e-5, vars.pp(format!("norm{i}")));
        let layer = |(i, pair): (usize, &[usize])| linear(pair[0], pair[1], vars.pp(format!("layer{i}")));
        Ok(Network {
            norms: norms.iter().enumerate().map(norm).collect::<Result<_>>()?,
            layers: sizes.windows(2).enumerate().map(layer).collect::<Result<_>>()?,
            slope: if model == "mlp" { 0.3 } else { 0.0 },
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        for (i, layer) in self.layers.iter().enumerate() {
            if let Some(norm) = self.norms.get(i) {
                x = norm.forward_t(&x, true)?;
            }
            x = layer.forward(&x)?;
            if i + 1 < self.layers.len() {
                x = if self.slope == 0.0 { x.relu()? } else { ops::leaky_relu(&x, self.slope)? };
            }
        }
        Ok(x)
    }
}

enum Descent {
    Plain(SGD),
    Adam(AdamW),
}

fn elementwise() -> Result<()> {
    let mut random = Random(7);
    let mut matrix =
        |rows: usize, columns: usize| Tensor::from_vec(random.noise(rows * columns), (rows, columns), &Device::Cpu);
    let time = |name: &str, bytes: usize, call: &dyn Fn() -> Result<Tensor>| {
        let seconds = time_calls(|| _ = black_box(call().expect("candle computes")));
        emit("D", PEER, name, threads(), "GB/s", seconds.into_iter().map(|s| 1e-9 * bytes as f64 / s).collect());
    };
    for (size, side) in [("1M", 1024), ("16M", 4096)] {
        let (x, z) = (matrix(side, side)?, matrix(side, side)?);
        let all = side * side;
        time(&format!("relu {size}"), 8 * all, &|| x.relu());
        time(&format!("exp {size}"), 8 * all, &|| x.exp());
        time(&format!("add {size}"), 12 * all, &|| x.add(&z));
        time(&format!("mul scalar {size}"), 8 * all, &|| &x * 1.5);
        time(&format!("argmax axis1 {size}"), 4 * all, &|| x.argmax(1));
    }
    let (logits, square) = (matrix(256, 1000)?, matrix(2048, 2048)?);
    time("softmax 256x1000", 8 * 256_000, &|| ops::softmax_last_dim(&logits));
    time("transpose 2048", 8 << 22, &|| square.t()?.contiguous());
    Ok(())
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let what = arguments[1].as_str();
    if what == "elem" {
        return elementwise();
    }
    let model = arguments.get(2).map_or("mlp", String::as_str);
    let vars = VarMap::new();
    let net = Network::new(model, &VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu))?;
    let adam = ParamsAdamW { lr: 1e-3, weight_decay: 0.0, ..Default::default() };
    let mut descent = match model {
        "ae" => Descent::Adam(AdamW::new(vars.all_vars(), adam)?),
        _ => Descent::Plain(SGD::new(vars.all_vars(), 1e-3)?),
    };
    let mut step = |x: Vec<f32>, y: Vec<i64>| -> Result<()> {
        let count = y.len();
        let x = Tensor::from_vec(x, (count, 784), &Device::Cpu)?;
        let out = net.forward(&x)?;
        let loss = match model {
            "ae" => loss::binary_cross_entropy_with_logit(&out, &x)?,
            _ => loss::cross_entropy(&out, &Tensor::from_vec(y, count, &Device::Cpu)?)?,
        };
        match &mut descent {
            Descent::Plain(descent) => descent.backward_step(&loss),
            Descent::Adam(descent) => descent.backward_step(&loss),
        }
    };
    let step = |x: Vec<f32>, y: Vec<i64>| step(x, y).expect("candle computes");
    match what {
        "train" => Images::read().train(PEER, model, step),
        _ => Images::read().epoch(32, step),
    }
    Ok(())
}
