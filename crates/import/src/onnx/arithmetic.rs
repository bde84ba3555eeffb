//! Nodes that compute number by number or with matrices: fully connected layers, batch norms, activations, sums, and constants that
//! are added and multiplied.

use model::architecture::{Conv2d, LayerKind};
use model::artefact::TensorF32;

use super::attributes::Attributes;
use super::proto::Node;
use super::tensor::Numbers;
use super::view::{View, dim, is_samples, length};
use super::walk::{Affine, Kind, Ref, Value, Walk, meant, optional, seen};

/// A constant beside a signal: one number for all, or one for each channel or feature.
struct Beside {
    /// The signal, flattened where the constant differs from place to place.
    x: Ref,
    /// By channel or feature.
    values: Vec<f32>,
}

impl<'a> Walk<'a> {
    pub(super) fn gemm(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Ref, String> {
        let x = self.signal(node, 0)?;
        let trans_a = attributes.int("transA", 0)?;
        let trans_b = attributes.int("transB", 0)?;
        let (alpha, beta) = (attributes.float("alpha", 1.0)?, attributes.float("beta", 1.0)?);
        let x = if trans_a == 0 { x } else { Ref { view: x.view.transposed(None)?, ..x } };
        let mut weights = self.floats(node, 1)?;
        weights.values.iter_mut().filter(|_| alpha != 1.0).for_each(|value| *value *= alpha);
        let bias = match optional(node, 2) {
            None => None,
            Some(_) => Some(self.floats(node, 2)?),
        };
        let units = weights.dims.get(usize::from(trans_b == 0)).copied().unwrap_or_default();
        let y = self.dense(node, &x, weights, trans_b != 0)?;
        let Some(Numbers { dims, values }) = bias else { return Ok(y) };
        let values = broadcast(&dims, &values, units)
            .ok_or_else(|| format!("its bias has the shape {dims:?} where [{units}] is needed"))?;
        let values: Vec<f32> = values.into_iter().map(|value| if beta == 1.0 { value } else { value * beta }).collect();
        let signal = &mut self.signals[y.signal];
        if let Kind::Layer(LayerKind::Conv2d(conv)) = &mut signal.kind {
            conv.bias = true;
        }
        signal.tensors.push(("bias", TensorF32 { shape: vec![units], values }));
        Ok(y)
    }

    pub(super) fn mat_mul(&mut self, node: &'a Node) -> Result<Ref, String> {
        match (self.value(node, 0)?, self.value(node, 1)?) {
            (Value::Signal(_), Value::Signal(_)) => Err("not supported: a product of two results, as in attention; \
                                                         supported: with constant weights"
                .to_owned()),
            (Value::Signal(x), _) => {
                let x = x.clone();
                let weights = self.floats(node, 1)?;
                self.dense(node, &x, weights, false)
            }
            // Samples as columns.
            (_, Value::Signal(x)) => {
                let x = x.clone();
                let rank = x.view.rank();
                if rank < 2 {
                    let weights = self.floats(node, 0)?;
                    return self.dense(node, &x, weights, true);
                }
                let mut order: Vec<i64> = (0..rank).collect();
                order.swap(rank as usize - 1, rank as usize - 2);
                let turned = Ref { view: x.view.transposed(Some(&order))?, ..x };
                let weights = self.floats(node, 0)?;
                let y = self.dense(node, &turned, weights, true)?;
                Ok(Ref { view: y.view.transposed(Some(&order))?, ..y })
            }
            _ => Err("multiplies constants".to_owned()),
        }
    }

    /// Fully connected along the last dimension.
    ///
    /// - `weights`: `[n_in, units]`
    /// - `rows_are_units`: whether they are `[units, n_in]`
    fn dense(
        &mut self,
        node: &'a Node,
        x: &Ref,
        mut weights: Numbers<f32>,
        rows_are_units: bool,
    ) -> Result<Ref, String> {
        while weights.dims.len() > 2 && weights.dims[0] == 1 {
            weights.dims.remove(0);
        }
        if weights.dims.len() != 2 || weights.dims.contains(&0) {
            return Err(format!("not supported: weights of the shape {:?}; supported: matrices", weights.dims));
        }
        if !rows_are_units {
            weights = weights.transposed(None)?;
        }
        let [units, n_in] = [weights.dims[0], weights.dims[1]];
        let Some((last, front)) = x.view.dims.split_last() else { return Err("its input is one number".to_owned()) };
        if length(last) != n_in || last.contains(&super::view::Factor::Samples) {
            return Err(format!(
                "its weights are for {n_in} inputs, and it has {}",
                super::view::sizes_text(&x.view.sizes())
            ));
        }
        if front.iter().any(|dim| !is_samples(dim)) {
            return self.dense_of_pixels(node, x, weights);
        }
        if *last != dim(n_in, 1) {
            // In the order of what the layer reads, which is not the file's.
            let offsets = View::offsets(last);
            for row in weights.values.chunks_mut(n_in) {
                let own = row.to_vec();
                offsets.iter().zip(own).for_each(|(&offset, value)| row[offset] = value);
            }
        }
        let tensors = vec![("weight", TensorF32 { shape: vec![units, n_in], values: weights.values })];
        let from = self.flat(node, x.signal)?;
        let signal = self.push(node, Kind::Layer(LayerKind::Dense { units }), vec![from], tensors, vec![units])?;
        let mut dims = front.to_vec();
        dims.push(dim(units, 1));
        Ok(Ref { signal, view: x.view.with(dims) })
    }

    /// The same weights at each position of an image whose channels stand last: a convolution of one tap.
    ///
    /// - `weights`: `[units, n_in]`
    fn dense_of_pixels(&mut self, node: &'a Node, x: &Ref, weights: Numbers<f32>) -> Result<Ref, String> {
        let refused = || {
            format!(
                "not supported: weights along the last of {} dimensions, {}; supported: a Flatten before it, or channels last",
                x.view.dims.len(),
                super::view::sizes_text(&x.view.sizes())
            )
        };
        let (last, front) = x.view.dims.split_last().ok_or_else(refused)?;
        let [c, h, w]: [usize; 3] = self.signals[x.signal].shape[..].try_into().map_err(|_| refused())?;
        if *last != dim(c, h * w) || !is_samples(front.first().ok_or_else(refused)?) {
            return Err(refused());
        }
        let units = weights.dims[0];
        let tensors = vec![("weight", TensorF32 { shape: vec![units, c, 1, 1], values: weights.values })];
        let conv = Conv2d { bias: false, ..Conv2d::square(units, 1, 1, 0) };
        let kind = Kind::Layer(LayerKind::Conv2d(conv));
        let signal = self.push(node, kind, vec![x.signal], tensors, vec![units, h, w])?;
        let mut dims = front.to_vec();
        dims.push(dim(units, h * w));
        Ok(Ref { signal, view: x.view.with(dims) })
    }

    pub(super) fn batch_norm(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Ref, String> {
        let x = self.signal(node, 0)?;
        attributes.pass(&["momentum", "consumed_inputs"]);
        let epsilon = meant(attributes.float("epsilon", 1e-5)?);
        if attributes.int("training_mode", 0)? != 0 {
            return Err("is in training mode; export the network with net.eval()".to_owned());
        }
        if attributes.int("spatial", 1)? != 1 {
            return Err("not supported: statistics for each pixel; supported: for each channel".to_owned());
        }
        let Some(channels) = x.view.dims.get(1).map(|dim| length(dim)) else {
            return Err("its input has no channels".to_owned());
        };
        let mut dims = vec![1; x.view.dims.len() - 1];
        dims[0] = channels;
        let mut tensors = Vec::with_capacity(4);
        let mut at = x.clone();
        for (place, field) in ["weight", "bias", "running_mean", "running_var"].into_iter().enumerate() {
            let values = self.vector(node, place + 1, channels)?.values;
            let beside = self.beside(node, &x, &Numbers { dims: dims.clone(), values }, channels > 1)?;
            tensors.push((field, TensorF32 { shape: vec![beside.values.len()], values: beside.values }));
            at = beside.x;
        }
        self.pointwise(node, &at, Kind::Layer(LayerKind::BatchNorm { epsilon }), tensors)
    }

    pub(super) fn activation(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Ref, String> {
        let x = self.signal(node, 0)?;
        let channels = self.signals[x.signal].shape[0];
        let kind = match node.op_type.as_str() {
            "Relu" => Kind::Clip { low: 0.0, high: f64::INFINITY },
            "Abs" => Kind::Layer(LayerKind::Abs),
            "Neg" => Kind::Affine(Affine { scale: vec![-1.0; channels], shift: vec![0.0; channels] }),
            "Clip" => self.clip(node, attributes)?,
            "LeakyRelu" => Kind::Layer(LayerKind::LeakyRelu { slope: meant(attributes.float("alpha", 0.01)?) }),
            "HardSigmoid" => {
                let [slope, shift] = [attributes.float("alpha", 0.2)?, attributes.float("beta", 0.5)?].map(meant);
                let affine = Affine { scale: vec![slope; channels], shift: vec![shift; channels] };
                let x = self.pointwise(node, &x, Kind::Affine(affine), Vec::new())?;
                return self.pointwise(node, &x, Kind::Clip { low: 0.0, high: 1.0 }, Vec::new());
            }
            "PRelu" => {
                let slopes = self.floats(node, 1)?;
                let Beside { x, values } = self.beside(node, &x, &slopes, false)?;
                let slopes = vec![("weight", TensorF32 { shape: vec![values.len()], values })];
                return self.pointwise(node, &x, Kind::Layer(LayerKind::PRelu), slopes);
            }
            other => return Err(format!("`{other}` is not read")),
        };
        self.pointwise(node, &x, kind, Vec::new())
    }

    fn clip(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Kind, String> {
        let mut bounds = [attributes.float("min", f32::MIN)?, attributes.float("max", f32::MAX)?];
        for (bound, at) in bounds.iter_mut().zip([1, 2]) {
            if optional(node, at).is_some() {
                let numbers = self.floats(node, at)?;
                let &[value] = &numbers.values[..] else {
                    return Err(format!("its bounds have the shape {:?} where one number is needed", numbers.dims));
                };
                *bound = value;
            }
        }
        clip(bounds[0], bounds[1])
    }

    /// What may stand behind the logits.
    pub(super) fn last(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Ref, String> {
        let x = self.signal(node, 0)?;
        if node.op_type != "Sigmoid" {
            attributes.pass(&["keepdims", "select_last_index"]);
            let first = i64::from(node.op_type != "ArgMax");
            let default = if self.version < 13 || node.op_type == "ArgMax" { first } else { -1 };
            let axis = x.view.axis(attributes.int("axis", default)?)?;
            let n: usize = self.signals[x.signal].shape.iter().product();
            // Before version 13, over all that follows the axis.
            let over = if self.version < 13 && node.op_type != "ArgMax" {
                &x.view.dims[axis..]
            } else {
                &x.view.dims[axis..=axis]
            };
            if over.iter().map(|dim| length(dim)).product::<usize>() != n {
                return Err(format!(
                    "not supported: over axis {axis} of {}; supported: over classes",
                    super::view::sizes_text(&x.view.sizes())
                ));
            }
        }
        self.pointwise(node, &x, Kind::Final, Vec::new())
    }

    /// Sums and differences of signals; else a constant added, multiplied or compared.
    pub(super) fn arithmetic(&mut self, node: &'a Node) -> Result<Ref, String> {
        let operator = node.op_type.as_str();
        let n = node.input.len();
        if matches!(operator, "Sub" | "Mul" | "Div") && n != 2 || n == 0 {
            return Err(format!("has {n} inputs"));
        }
        let of_signals = (0..n).map(|at| Ok(matches!(self.value(node, at)?, Value::Signal(_))));
        let of_signals = of_signals.collect::<Result<Vec<bool>, String>>()?;
        let signals: Vec<usize> = (0..n).filter(|&at| of_signals[at]).collect();
        let mut x = match operator {
            "Add" | "Sum" | "Mean" => self.sum(node, &signals)?,
            "Sub" if signals.len() == 2 => {
                let (a, b) = (self.signal(node, 0)?, self.signal(node, 1)?);
                let b = self.affine(node, &b, -1.0, 0.0)?;
                self.sum_of(node, &[a, b])?
            }
            _ if signals.len() == 1 => self.signal(node, signals[0])?,
            "Mul" | "Div" => {
                return Err(
                    "not supported: a product of two results, as in squeeze-and-excitation, SiLU, HardSwish and \
                            attention; supported: with a constant"
                        .to_owned(),
                );
            }
            _ => {
                return Err(format!("not supported: {operator} of several results; supported: of one and constants"));
            }
        };
        for at in (0..n).filter(|&at| !of_signals[at]) {
            let constant = self.floats(node, at)?;
            x = self.with_constant(node, &x, &constant, at)?;
        }
        if operator == "Mean" {
            x = self.affine(node, &x, 1.0 / n as f64, 0.0)?;
        }
        Ok(x)
    }

    /// - `at`: which input the constant is
    fn with_constant(&mut self, node: &'a Node, x: &Ref, constant: &Numbers<f32>, at: usize) -> Result<Ref, String> {
        let operator = node.op_type.as_str();
        if matches!(operator, "Max" | "Min") {
            let Some(&bound) = constant.values.first() else { return Err("its constant is empty".to_owned()) };
            if constant.values.iter().any(|value| *value != bound) {
                return Err(format!(
                    "not supported: {operator} with constants that differ; supported: with one number"
                ));
            }
            let kind = if operator == "Max" { clip(bound, f32::MAX)? } else { clip(f32::MIN, bound)? };
            return self.pointwise(node, x, kind, Vec::new());
        }
        let Beside { x, values } = self.beside(node, x, constant, false)?;
        let c: Vec<f64> = values.into_iter().map(f64::from).collect();
        let same = |value: f64| vec![value; c.len()];
        let of = |f: &dyn Fn(f64) -> f64| c.iter().map(|&value| f(value)).collect();
        let affine = match (operator, at) {
            ("Sub", 1) => Affine { scale: same(1.0), shift: of(&|value| -value) },
            ("Sub", _) => Affine { scale: same(-1.0), shift: c },
            ("Mul", _) => Affine { shift: same(0.0), scale: c },
            ("Div", 1) => Affine { scale: of(&|value| 1.0 / value), shift: same(0.0) },
            ("Div", _) => {
                return Err("not supported: division by a result; supported: by a constant".to_owned());
            }
            _ => Affine { scale: same(1.0), shift: c },
        };
        self.pointwise(node, &x, Kind::Affine(affine), Vec::new())
    }

    fn affine(&mut self, node: &'a Node, x: &Ref, scale: f64, shift: f64) -> Result<Ref, String> {
        let n = self.signals[x.signal].shape[0];
        let affine = Affine { scale: vec![scale; n], shift: vec![shift; n] };
        self.pointwise(node, x, Kind::Affine(affine), Vec::new())
    }

    fn sum(&mut self, node: &'a Node, of: &[usize]) -> Result<Ref, String> {
        let refs = of.iter().map(|&at| self.signal(node, at)).collect::<Result<Vec<Ref>, String>>()?;
        self.sum_of(node, &refs)
    }

    fn sum_of(&mut self, node: &'a Node, refs: &[Ref]) -> Result<Ref, String> {
        let [first, others @ ..] = refs else { return Err("has no input".to_owned()) };
        if others.is_empty() {
            return Ok(first.clone());
        }
        let refs = self.alike(node, refs)?;
        let from = refs.iter().map(|x| x.signal).collect();
        let shape = self.signals[refs[0].signal].shape.clone();
        let signal = self.push(node, Kind::Layer(LayerKind::Add), from, Vec::new(), shape)?;
        Ok(Ref { signal, view: refs[0].view.clone() })
    }

    /// Signals of the same shape that are seen in the same way.
    fn alike(&mut self, node: &'a Node, refs: &[Ref]) -> Result<Vec<Ref>, String> {
        let mut refs = refs.to_vec();
        if refs.iter().any(|x| x.view != refs[0].view) {
            // One of them may have its channels in another order.
            for x in refs.iter_mut().filter(|x| matches!(x.view.dims.len(), 3 | 4)) {
                let image = self.image(node, x)?;
                *x = Ref { signal: image.signal, view: seen(&x.view, image.shape, image.is_line) };
            }
        }
        if refs.iter().any(|x| self.signals[x.signal].shape != self.signals[refs[0].signal].shape) {
            let is_vector = |x: &Ref| {
                x.view.dims.split_first().is_some_and(|(first, rest)| {
                    is_samples(first) && rest.iter().filter(|dim| !dim.is_empty()).count() <= 1
                })
            };
            if refs.iter().all(is_vector) {
                for x in &mut refs {
                    x.signal = self.flat(node, x.signal)?;
                }
            }
        }
        let shape = |x: &Ref| self.signals[x.signal].shape.clone();
        if refs.iter().any(|x| x.view != refs[0].view || shape(x) != shape(&refs[0])) {
            let text: Vec<String> = refs.iter().map(|x| super::view::sizes_text(&x.view.sizes())).collect();
            return Err(format!(
                "not supported: a sum of {}; supported: of results of the same shape",
                text.join(" and ")
            ));
        }
        Ok(refs)
    }

    /// Finds the numbers of a constant that channels meet, or features.
    ///
    /// - `by_channel`: refuses to flatten images of several channels
    fn beside(&mut self, node: &'a Node, x: &Ref, constant: &Numbers<f32>, by_channel: bool) -> Result<Beside, String> {
        let Numbers { dims, values } = constant;
        let shape = self.signals[x.signal].shape.clone();
        if let [value] = values[..] {
            return Ok(Beside { x: of_rank(x, dims.len()), values: vec![value; shape[0]] });
        }
        let x = of_rank(x, dims.len());
        let front = x.view.dims.len() - dims.len();
        let axes: Vec<(usize, usize)> =
            dims.iter().enumerate().map(|(at, &size)| (front + at, size)).filter(|(_, size)| *size != 1).collect();
        for &(axis, size) in &axes {
            if x.view.dims[axis].contains(&super::view::Factor::Samples) || length(&x.view.dims[axis]) != size {
                return Err(format!(
                    "its constant has the shape {dims:?}, and its input {}; supported: one number, or one for each channel",
                    super::view::sizes_text(&x.view.sizes())
                ));
            }
        }
        let at = |offset: usize| {
            let place = |index: usize, &(axis, size): &(usize, usize)| {
                index * size + View::coordinate(&x.view.dims[axis], offset)
            };
            values[axes.iter().fold(0, place)]
        };
        let area: usize = shape[1..].iter().product();
        let of_channels = axes.iter().flat_map(|&(axis, _)| &x.view.dims[axis]).all(|factor| match factor {
            super::view::Factor::Values { stride, .. } => stride.is_multiple_of(area),
            super::view::Factor::Samples => false,
        });
        if of_channels {
            let found = (0..shape[0]).map(|channel| at(channel * area)).collect();
            return Ok(Beside { x, values: found });
        }
        let n: usize = shape.iter().product();
        let all: Vec<f32> = (0..n).map(at).collect();
        if all.chunks(area).all(|channel| channel.iter().all(|value| *value == channel[0])) {
            let found = all.chunks(area).map(|channel| channel[0]).collect();
            return Ok(Beside { x, values: found });
        }
        if by_channel && x.view.dims.len() > 2 {
            return Err("not supported: numbers for positions of an image; supported: for its channels".to_owned());
        }
        let signal = self.flat(node, x.signal)?;
        Ok(Beside { x: Ref { signal, view: x.view }, values: all })
    }
}

/// Seen with as many dimensions as a constant beside it has.
fn of_rank(x: &Ref, rank: usize) -> Ref {
    let mut x = x.clone();
    while x.view.dims.len() < rank {
        x.view.dims.insert(0, Vec::new());
    }
    x
}

/// A bias for each of so many units; `None` if it is for others.
fn broadcast(dims: &[usize], values: &[f32], units: usize) -> Option<Vec<f32>> {
    if let [value] = values {
        return Some(vec![*value; units]);
    }
    (dims == [units] || dims == [1, units]).then(|| values.to_vec())
}

/// Bounds, of which the lowest and the largest number of 32 bits are none.
fn clip(low: f32, high: f32) -> Result<Kind, String> {
    let low = if low <= f32::MIN { f64::NEG_INFINITY } else { meant(low) };
    let high = if high >= f32::MAX { f64::INFINITY } else { meant(high) };
    if low < high {
        Ok(Kind::Clip { low, high })
    } else {
        Err(format!(
            "not supported: bounds {low} and {high}, between which nothing lies; supported: a lower one below an upper one"
        ))
    }
}
