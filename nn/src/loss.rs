//! What training makes small. Formulas, limits and names are Keras'; PyTorch's names work where they mean the same.

use gradus_core::{DType, Tensor};

use crate::layers::Activation;
use crate::named::named;
use crate::{Error, Result};

named! {
    /// A loss: how wrong an output is.
    ///
    /// Those of probabilities keep them within `[1e-7, 1 - 1e-7]`. Where the model's last activation is the softmax or the
    /// sigmoid that the loss belongs to, both are computed together from what comes before it: nothing is cut off then.
    ///
    /// Those of probabilities take a share to smooth labels by (Szegedy et al. 2016), as in `categorical_crossentropy(0.1)`:
    /// of the truth, that share is spread evenly over all classes.
    Loss "loss" {
        /// `-log(p[label])` of probabilities; targets are class numbers.
        SparseCategoricalCrossentropy(label_smoothing: f64 = 0.0) = "sparse_categorical_crossentropy";
        /// The same of logits.
        SparseCategoricalCrossentropyLogits(label_smoothing: f64 = 0.0) = "sparse_categorical_crossentropy_logits" | "cross_entropy";
        /// `-Σ t log(p)` of probabilities; targets are rows that sum to 1, such as one-hot ones.
        CategoricalCrossentropy(label_smoothing: f64 = 0.0) = "categorical_crossentropy";
        /// The same of logits.
        CategoricalCrossentropyLogits(label_smoothing: f64 = 0.0) = "categorical_crossentropy_logits";
        /// The mean of `-(t log(p) + (1 - t) log(1 - p))` of probabilities; targets lie from 0 to 1.
        BinaryCrossentropy(label_smoothing: f64 = 0.0) = "binary_crossentropy" | "bce";
        /// The same of logits.
        BinaryCrossentropyLogits(label_smoothing: f64 = 0.0) = "binary_crossentropy_logits" | "bce_with_logits";
        /// The mean of `(y - t)²`.
        MeanSquaredError = "mean_squared_error" | "mse";
        /// Half of the sum of `(y - t)²`: textbooks' quadratic cost.
        Quadratic = "quadratic";
        /// The mean of `|y - t|`.
        MeanAbsoluteError = "mean_absolute_error" | "mae" | "l1";
        /// The mean of `(y - t)² / 2` within `delta`, and of `delta |y - t| - delta² / 2` beyond (Huber 1964).
        Huber(delta: f64 = 1.0) = "huber";
        /// The mean of `log(cosh(y - t))`.
        LogCosh = "log_cosh" | "logcosh";
        /// `Σ t log(t / y)` of two rows of probabilities.
        KlDivergence = "kl_divergence";
        /// The mean of `max(1 - t y, 0)`; targets are -1 and 1, and where all are 0 or 1, 0 counts as -1.
        Hinge = "hinge";
        /// The mean of `max(1 - t y, 0)²`; targets as for hinge.
        SquaredHinge = "squared_hinge";
        /// `max(max((1 - t) y) - Σ t y + 1, 0)`; targets are one-hot rows.
        CategoricalHinge = "categorical_hinge";
        /// The mean of `y - t log(y)`.
        Poisson = "poisson";
        /// Minus the cosine of the angle between two rows.
        CosineSimilarity = "cosine_similarity";
    }
}

/// How close a probability may come to 0 and 1.
const EPSILON: f64 = 1e-7;

impl Loss {
    /// What makes probabilities of a model's outputs: a loss of logits leaves the last activation to whoever wants them.
    pub fn last_activation(&self) -> Activation {
        match self {
            Loss::SparseCategoricalCrossentropyLogits(_) | Loss::CategoricalCrossentropyLogits(_) => {
                Activation::Softmax
            }
            Loss::BinaryCrossentropyLogits(_) => Activation::Sigmoid,
            _ => Activation::Linear,
        }
    }

    /// The mean loss of a batch, a scalar.
    ///
    /// `raw` and `left` are what [`Module::forward_raw`](crate::Module::forward_raw) gives: the output, or what comes before
    /// the activation `left`.
    pub fn value(&self, raw: &Tensor, left: &Activation, target: &Tensor) -> Result<Tensor> {
        Ok(self.each(raw, left, target)?.mean(&[])?)
    }

    /// The loss of each sample, or of each row where samples have more than one.
    pub fn each(&self, raw: &Tensor, left: &Activation, target: &Tensor) -> Result<Tensor> {
        use Loss::*;
        let fused = match left {
            Activation::Softmax => matches!(self, SparseCategoricalCrossentropy(_) | CategoricalCrossentropy(_)),
            Activation::Sigmoid => matches!(self, BinaryCrossentropy(_)),
            _ => false,
        };
        let y = if fused { raw.clone() } else { left.apply(raw)? };
        let (y, t) = self.pair(&y, target)?;
        let t = match *self {
            SparseCategoricalCrossentropy(share) | SparseCategoricalCrossentropyLogits(share) if share > 0.0 => {
                let dense = match self {
                    SparseCategoricalCrossentropy(_) if !fused => CategoricalCrossentropy(share),
                    _ => CategoricalCrossentropyLogits(share),
                };
                return dense.each(&y, &Activation::Linear, &t.one_hot(y.size(-1)?, y.dtype())?);
            }
            CategoricalCrossentropy(share) | CategoricalCrossentropyLogits(share) if share > 0.0 => {
                t.mul_scalar(1.0 - share)?.add_scalar(share / y.size(-1)? as f64)?
            }
            BinaryCrossentropy(share) | BinaryCrossentropyLogits(share) if share > 0.0 => {
                t.mul_scalar(1.0 - share)?.add_scalar(share / 2.0)?
            }
            _ => t,
        };
        let last = &[-1];
        let others = || t.neg()?.add_scalar(1.0);
        let margin = || -> Result<Tensor> { Ok(y.mul(&signs(&t)?)?.neg()?.add_scalar(1.0)?.relu()?) };
        Ok(match *self {
            SparseCategoricalCrossentropy(_) if !fused => {
                let chosen = y.gather(&t.unsqueeze(-1)?, -1)?.div(&y.sum_keepdim(last)?)?;
                probability(&chosen)?.log()?.neg()?.squeeze(-1)?
            }
            SparseCategoricalCrossentropy(_) | SparseCategoricalCrossentropyLogits(_) => {
                let rows = y.reshape(&[t.len(), y.size(-1)?])?;
                rows.cross_entropy(&t.reshape(&[t.len()])?)?.reshape(t.shape())?
            }
            CategoricalCrossentropy(_) if !fused => {
                let p = probability(&y.div(&y.sum_keepdim(last)?)?)?;
                t.mul(&p.log()?)?.sum(last)?.neg()?
            }
            CategoricalCrossentropy(_) | CategoricalCrossentropyLogits(_) => {
                t.mul(&y.log_softmax(-1)?)?.sum(last)?.neg()?
            }
            BinaryCrossentropy(_) if !fused => {
                let p = probability(&y)?;
                let not = p.neg()?.add_scalar(1.0)?;
                t.mul(&p.log()?)?.add(&others()?.mul(&not.log()?)?)?.mean(last)?.neg()?
            }
            BinaryCrossentropy(_) | BinaryCrossentropyLogits(_) => y.logistic_loss(&t)?.mean(last)?,
            MeanSquaredError => y.sub(&t)?.square()?.mean(last)?,
            Quadratic => y.sub(&t)?.square()?.sum(last)?.mul_scalar(0.5)?,
            MeanAbsoluteError => y.sub(&t)?.abs()?.mean(last)?,
            Huber(delta) => {
                let error = y.sub(&t)?;
                let size = error.abs()?;
                let far = size.mul_scalar(delta)?.add_scalar(-0.5 * delta * delta)?;
                error.square()?.mul_scalar(0.5)?.select(&size.le_scalar(delta)?, &far)?.mean(last)?
            }
            LogCosh => {
                // log(cosh(e)) = e + log(1 + exp(-2 e)) - log(2), for either sign of e.
                let error = y.sub(&t)?;
                let sum = error.add(&error.mul_scalar(-2.0)?.softplus()?)?;
                sum.add_scalar(-std::f64::consts::LN_2)?.mean(last)?
            }
            KlDivergence => {
                // At 1 itself half of the gradient passes, as in Keras; a clamp would stop it.
                let keep = |p: &Tensor| p.maximum(&p.scalar_like(EPSILON)?)?.minimum(&p.scalar_like(1.0)?);
                let (y, t) = (keep(&y)?, keep(&t)?);
                t.mul(&t.div(&y)?.log()?)?.sum(last)?
            }
            Hinge => margin()?.mean(last)?,
            SquaredHinge => margin()?.square()?.mean(last)?,
            CategoricalHinge => {
                let (right, wrong) = (t.mul(&y)?.sum(last)?, others()?.mul(&y)?.max(last)?);
                wrong.sub(&right)?.add_scalar(1.0)?.relu()?
            }
            Poisson => y.sub(&t.mul(&y.add_scalar(EPSILON)?.log()?)?)?.mean(last)?,
            CosineSimilarity => direction(&y)?.mul(&direction(&t)?)?.sum(last)?.neg()?,
        })
    }

    /// Outputs and targets, in shapes that belong together: class numbers without the last dimension of the outputs, all
    /// other targets with it.
    fn pair(&self, y: &Tensor, target: &Tensor) -> Result<(Tensor, Tensor)> {
        let sparse =
            matches!(self, Loss::SparseCategoricalCrossentropy(_) | Loss::SparseCategoricalCrossentropyLogits(_));
        let pair = match sparse {
            true => align_labels(y, target)?.map(|labels| (y.clone(), labels)),
            false => align(y, target)?,
        };
        let Some((y, t)) = pair else {
            let (have, want) = (target.shape(), y.shape());
            let hint = match self {
                _ if sparse && have == want => "; for one-hot rows take the loss without \"sparse_\"",
                Loss::CategoricalCrossentropy(_) if have.len() < want.len() => {
                    "; for class numbers take the sparse loss"
                }
                _ => "",
            };
            let name = self.name();
            let what = format!("loss {name}: targets of shape {have:?} do not fit outputs of shape {want:?}{hint}");
            return Err(Error::Config(what));
        };
        match self {
            // Sums up whole samples, not rows.
            Loss::Quadratic => Ok((y.flatten(1, -1)?, t.flatten(1, -1)?)),
            _ => Ok((y, t)),
        }
    }

    /// [`Loss::value`] of a batch whose samples count as `weights` say, if there are any: one number a sample. As in Keras the sum is divided by
    /// the number of samples, not by that of the weights, so that a weight of 2 does what the sample twice would do to the sum.
    pub fn weighted(
        &self,
        raw: &Tensor,
        left: &Activation,
        target: &Tensor,
        weights: Option<&Tensor>,
    ) -> Result<Tensor> {
        let Some(weights) = weights else { return self.value(raw, left, target) };
        let each = self.each(raw, left, target)?;
        if weights.shape() != [each.size(0)?] {
            let (have, want) = (weights.shape(), each.size(0)?);
            return Err(Error::Config(format!(
                "loss {self}: weights of shape {have:?} for {want} samples; give one each"
            )));
        }
        let mut shape = vec![1; each.rank()];
        shape[0] = weights.len();
        Ok(each.mul(&weights.to_dtype(each.dtype())?.reshape(&shape)?)?.mean(&[])?)
    }

    /// The share by which labels are smoothed, of losses that can do it.
    pub fn label_smoothing(&mut self) -> Option<&mut f64> {
        use Loss::*;
        match self {
            SparseCategoricalCrossentropy(share)
            | SparseCategoricalCrossentropyLogits(share)
            | CategoricalCrossentropy(share)
            | CategoricalCrossentropyLogits(share)
            | BinaryCrossentropy(share)
            | BinaryCrossentropyLogits(share) => Some(share),
            _ => None,
        }
    }

    fn complaint(&self) -> Option<&'static str> {
        match self.clone().label_smoothing() {
            Some(share) if !(0.0..1.0).contains(share) => {
                return Some("label_smoothing must lie from 0 up to but without 1");
            }
            _ => {}
        }
        match *self {
            Loss::Huber(delta) if delta <= 0.0 => Some("delta must be above 0"),
            _ => None,
        }
    }
}

/// Class numbers in the shape of `y` without the last dimension; `None` if they do not fit. A last dimension of 1 may stay.
pub(crate) fn align_labels(y: &Tensor, target: &Tensor) -> Result<Option<Tensor>> {
    let Some((_, samples)) = y.shape().split_last().filter(|(_, samples)| !samples.is_empty()) else { return Ok(None) };
    let column = target.shape().split_last() == Some((&1, samples));
    if target.shape() != samples && !column {
        return Ok(None);
    }
    Ok(Some(target.detach().to_dtype(DType::I64)?.reshape(samples)?))
}

/// Outputs and targets of one shape with at least two dimensions, and of one type; `None` if they do not fit. Where a last
/// dimension of 1 is all that differs, it is added or dropped: broadcasting would compare each sample with each other.
pub(crate) fn align(y: &Tensor, target: &Tensor) -> Result<Option<(Tensor, Tensor)>> {
    let mut shape = y.shape().to_vec();
    if shape.len() == 1 {
        shape.push(1);
    }
    let bare = |shape: &[usize]| match shape {
        [samples @ .., 1] if !samples.is_empty() => samples.to_vec(),
        _ => shape.to_vec(),
    };
    if bare(target.shape()) != bare(&shape) || y.rank() == 0 {
        return Ok(None);
    }
    Ok(Some((y.reshape(&shape)?, target.to_dtype(y.dtype())?.reshape(&shape)?)))
}

/// Probabilities kept away from 0 and 1, where the logarithm ends.
fn probability(p: &Tensor) -> Result<Tensor> {
    Ok(p.clamp(EPSILON, 1.0 - EPSILON)?)
}

/// Targets of the hinge losses: where all are 0 or 1, 0 becomes -1.
fn signs(t: &Tensor) -> Result<Tensor> {
    let bits = t.eq_scalar(0.0)?.logical_or(&t.eq_scalar(1.0)?)?.all(&[])?.item()? == 1.0;
    Ok(if bits { t.mul_scalar(2.0)?.add_scalar(-1.0)? } else { t.clone() })
}

/// Rows divided by their lengths; a row of zeros stays.
fn direction(x: &Tensor) -> Result<Tensor> {
    let length = x.square()?.sum_keepdim(&[-1])?.clamp(EPSILON * EPSILON, f64::INFINITY)?;
    Ok(x.mul(&length.rsqrt()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::grad::check::check_gradient;
    use crate::layers::testing::{checked, random};

    fn tensor(values: &[f64], shape: &[usize]) -> Tensor {
        Tensor::from_slice(values, shape).unwrap()
    }

    /// Outputs and targets that `loss` can take, away from the corners where gradients jump.
    fn example(loss: &Loss) -> (Tensor, Tensor) {
        use Loss::*;
        let y = random(&[4, 3], 1);
        let one_hot = tensor(&[0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0], &[4, 3]);
        match loss {
            SparseCategoricalCrossentropy(_) => (y.softmax(1).unwrap(), one_hot.argmax(1).unwrap()),
            SparseCategoricalCrossentropyLogits(_) => (y, one_hot.argmax(1).unwrap()),
            CategoricalCrossentropy(_) | KlDivergence => {
                (y.softmax(1).unwrap(), random(&[4, 3], 2).softmax(1).unwrap())
            }
            BinaryCrossentropy(_) | Poisson => (y.sigmoid().unwrap(), one_hot),
            MeanSquaredError | Quadratic | MeanAbsoluteError | Huber(_) | LogCosh | CosineSimilarity => {
                (y.mul_scalar(2.0).unwrap(), random(&[4, 3], 2))
            }
            _ => (y, one_hot),
        }
    }

    #[test]
    fn every_name_reads_back_as_it_is_written() {
        for name in Loss::NAMES {
            let loss: Loss = name.parse().unwrap();
            assert_eq!(loss.to_string().parse::<Loss>().unwrap(), loss);
        }
        assert_eq!("mse".parse::<Loss>().unwrap().to_string(), "mean_squared_error");
        assert_eq!("huber".parse::<Loss>().unwrap().to_string(), "huber(1)");
        let error = "huber(0)".parse::<Loss>().unwrap_err().to_string();
        assert_eq!(error, "loss \"huber(0)\": delta must be above 0");
    }

    #[test]
    fn gradients_agree_with_differences_to_second_order() {
        for name in Loss::NAMES {
            let loss: Loss = name.parse().unwrap();
            let (y, t) = example(&loss);
            for left in [Activation::Linear, Activation::Softmax, Activation::Sigmoid] {
                let f = |y: &[Tensor]| checked(loss.value(&y[0], &left, &t));
                check_gradient(f, std::slice::from_ref(&y), 2)
                    .unwrap_or_else(|error| panic!("{name}, {left}: {error}"));
            }
        }
    }

    #[test]
    fn an_activation_taken_in_changes_nothing_but_the_digits() {
        for name in Loss::NAMES {
            let loss: Loss = name.parse().unwrap();
            let (y, t) = example(&loss);
            for left in [Activation::Softmax, Activation::Sigmoid] {
                let apart = loss.value(&left.apply(&y).unwrap(), &Activation::Linear, &t).unwrap().item().unwrap();
                let together = loss.value(&y, &left, &t).unwrap().item().unwrap();
                assert!((apart - together).abs() < 1e-12, "{name}, {left}: {apart} and {together}");
            }
        }
    }

    #[test]
    fn taken_in_the_softmax_keeps_the_gradient_that_the_limits_would_cut_off() {
        let raw = tensor(&[100.0, 0.0], &[1, 2]).requires_grad();
        let label = Tensor::from_slice(&[1i64], &[1]).unwrap();
        let gradient = |raw: &Tensor, left: &Activation| {
            let loss = Loss::SparseCategoricalCrossentropy(0.0).value(raw, left, &label).unwrap();
            (loss.item().unwrap(), loss.backward().unwrap().get(raw).unwrap().to_vec::<f64>().unwrap())
        };
        let (loss, fused) = gradient(&raw, &Activation::Softmax);
        assert_eq!((loss, fused), (100.0, vec![1.0, -1.0]));
        let p = raw.softmax(1).unwrap();
        let loss =
            Loss::SparseCategoricalCrossentropy(0.0).value(&p, &Activation::Linear, &label).unwrap().item().unwrap();
        assert!((loss - -(1e-7f64.ln())).abs() < 1e-12, "{loss}");
    }

    #[test]
    fn a_column_of_outputs_meets_a_row_of_targets_one_to_one() {
        let y = tensor(&[1.0, 2.0, 3.0], &[3, 1]);
        for t in [tensor(&[1.0, 2.0, 5.0], &[3]), tensor(&[1.0, 2.0, 5.0], &[3, 1])] {
            for y in [y.clone(), y.reshape(&[3]).unwrap()] {
                let each = Loss::MeanSquaredError.each(&y, &Activation::Linear, &t).unwrap();
                assert_eq!(each.to_vec::<f64>().unwrap(), [0.0, 0.0, 4.0]);
            }
        }
        let labels = Tensor::from_slice(&[1u8, 0], &[2, 1]).unwrap();
        let logits = tensor(&[0.0, 50.0, 50.0, 0.0], &[2, 2]);
        let loss = Loss::SparseCategoricalCrossentropy(0.0).value(&logits, &Activation::Softmax, &labels).unwrap();
        assert!(loss.item().unwrap() < 1e-20);
    }

    #[test]
    fn the_quadratic_cost_is_half_of_the_sum_over_a_sample() {
        let (y, t) = (tensor(&[1.0, 2.0, 3.0, 4.0], &[2, 1, 2]), tensor(&[0.0, 0.0, 3.0, 1.0], &[2, 1, 2]));
        let each = Loss::Quadratic.each(&y, &Activation::Linear, &t).unwrap();
        assert_eq!(each.to_vec::<f64>().unwrap(), [2.5, 4.5]);
    }

    #[test]
    fn targets_that_do_not_fit_are_refused() {
        let complaint =
            |loss: Loss, t: &Tensor| loss.value(&random(&[4, 3], 0), &Activation::Linear, t).unwrap_err().to_string();
        assert_eq!(
            complaint(Loss::MeanSquaredError, &random(&[4], 0)),
            "loss mean_squared_error: targets of shape [4] do not fit outputs of shape [4, 3]"
        );
        assert_eq!(
            complaint(Loss::CategoricalCrossentropy(0.0), &random(&[4], 0)),
            "loss categorical_crossentropy: targets of shape [4] do not fit outputs of shape [4, 3]; for class numbers \
             take the sparse loss"
        );
        assert_eq!(
            complaint(Loss::SparseCategoricalCrossentropy(0.0), &random(&[4, 3], 0)),
            "loss sparse_categorical_crossentropy: targets of shape [4, 3] do not fit outputs of shape [4, 3]; for \
             one-hot rows take the loss without \"sparse_\""
        );
    }
}
