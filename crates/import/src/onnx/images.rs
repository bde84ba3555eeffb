//! Nodes that read images: convolutions, pools, means, and padding, which goes into the layer behind it.

use model::architecture::{Conv2d, LayerKind, Window};
use model::artefact::TensorF32;
use model::population::PoolKind;

use super::attributes::Attributes;
use super::proto::Node;
use super::tensor::Numbers;
use super::view::{Factor, View, dim, merged};
use super::walk::{Affine, Fill, Image, Kind, Ref, Walk, optional, seen};

/// Largest kernel, stride or padding.
const MAX_WINDOW: i64 = 1 << 12;

/// What a window does along rows and columns, as a node says it.
struct Sweep {
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: [usize; 4],
}

impl<'a> Walk<'a> {
    pub(super) fn conv(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Ref, String> {
        let x = self.signal(node, 0)?;
        let Numbers { dims, values } = self.floats(node, 1)?;
        let image = self.image(node, &x)?;
        let [channels, of_group, kernel @ ..] = &dims[..] else {
            return Err(format!("its weights have the shape {dims:?}"));
        };
        if dims.contains(&0) {
            return Err(format!("its weights have the shape {dims:?}"));
        }
        let kernel = match (kernel, image.is_line) {
            (&[across], true) => [1, across],
            (&[down, across], false) => [down, across],
            _ => return Err(format!("its weights {dims:?} are not for an input of {} dimensions", x.view.dims.len())),
        };
        let given = spatial(attributes, "kernel_shape", image.is_line, 0)?;
        if given.is_some_and(|given| given != kernel) {
            return Err(format!("kernel_shape {:?} is not that of its weights {dims:?}", given.unwrap_or_default()));
        }
        let groups = attributes.int("group", 1)?;
        let groups = usize::try_from(groups).ok().filter(|&n| n > 0 && channels.is_multiple_of(n));
        let groups = groups.ok_or_else(|| format!("its groups do not divide its {channels} channels"))?;
        if of_group.checked_mul(groups) != Some(image.shape[0]) {
            return Err(format!(
                "its weights {dims:?} are for {of_group} channels in each of {groups} groups, and its input has {}",
                image.shape[0]
            ));
        }
        let channels = *channels;
        let sweep = sweep(attributes, kernel, image)?;
        let mut tensors =
            vec![("weight", TensorF32 { shape: vec![channels, *of_group, kernel[0], kernel[1]], values })];
        if optional(node, 2).is_some() {
            tensors.push(("bias", self.vector(node, 2, channels)?));
        }
        let Sweep { stride, dilation, padding } = sweep;
        if image.is_vector {
            if kernel != [1; 2] || padding != [0; 4] {
                return Err(format!(
                    "not supported: a kernel of {}×{} on what a pool of the whole image gives; supported: 1×1",
                    kernel[0], kernel[1]
                ));
            }
            return self.conv_of_vector(node, &x, image, groups, tensors);
        }
        let (signal, inner, before, fill) = self.without_padding(image);
        if fill == Fill::Nothing {
            return Err("not supported: padding with minus infinity; supported: with zeros".to_owned());
        }
        let conv = Conv2d {
            channels,
            kernel,
            stride,
            padding: [0, 1, 2, 3].map(|side| padding[side] + before[side]),
            dilation,
            groups,
            bias: tensors.len() > 1,
        };
        let output = conv.on(inner).output();
        if kernel.contains(&0) || output.contains(&0) {
            return Err(format!("kernel {}×{} does not fit its {}×{} input", kernel[0], kernel[1], inner[1], inner[2]));
        }
        let signal = self.push(node, Kind::Layer(LayerKind::Conv2d(conv)), vec![signal], tensors, output.to_vec())?;
        Ok(Ref { signal, view: seen(&x.view, output, image.is_line) })
    }

    /// A kernel of one tap on an image of one position: fully connected, within groups.
    fn conv_of_vector(
        &mut self,
        node: &'a Node,
        x: &Ref,
        image: Image,
        groups: usize,
        mut tensors: Vec<(&'static str, TensorF32)>,
    ) -> Result<Ref, String> {
        let n_in = image.shape[0];
        let weight = &mut tensors[0].1;
        let units = weight.shape[0];
        if groups > 1 {
            let of_group = n_in / groups;
            let mut values = vec![0.0; units * n_in];
            for (unit, row) in weight.values.chunks(of_group).enumerate() {
                let first = unit * n_in + unit / (units / groups) * of_group;
                values[first..first + of_group].copy_from_slice(row);
            }
            weight.values = values;
        }
        weight.shape = vec![units, n_in];
        let signal =
            self.push(node, Kind::Layer(LayerKind::Dense { units }), vec![image.signal], tensors, vec![units])?;
        Ok(Ref { signal, view: seen(&x.view, [units, 1, 1], image.is_line) })
    }

    /// The image before it was padded: signal, shape, padding and what it is padded with.
    fn without_padding(&self, image: Image) -> (usize, [usize; 3], [usize; 4], Fill) {
        let signal = &self.signals[image.signal];
        let Kind::Pad { padding, fill } = signal.kind else {
            return (image.signal, image.shape, [0; 4], Fill::Zeros);
        };
        let [c, h, w] = image.shape;
        (signal.from[0], [c, h - padding[0] - padding[2], w - padding[1] - padding[3]], padding, fill)
    }

    pub(super) fn pool(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Ref, String> {
        let x = self.signal(node, 0)?;
        let image = self.image(node, &x)?;
        let is_mean = node.op_type == "AveragePool";
        // The order of indices, which nothing reads.
        attributes.pass(&["storage_order"]);
        let kernel = spatial(attributes, "kernel_shape", image.is_line, 1)?.ok_or("has no kernel_shape")?;
        let Sweep { stride, dilation, padding } = sweep(attributes, kernel, image)?;
        if dilation != [1; 2] {
            return Err(format!(
                "not supported: a pool with dilations {dilation:?}; supported: [1, 1], where the inputs of a window lie side by side"
            ));
        }
        let counts_own = attributes.int("count_include_pad", 0)? != 0;
        let ceil = attributes.int("ceil_mode", 0)? != 0;
        let (signal, inner, before, fill) = self.without_padding(image);
        if is_mean && fill == Fill::Nothing {
            return Err("not supported: a mean of minus infinity; supported: padding with zeros".to_owned());
        }
        if is_mean && before != [0; 4] && padding != [0; 4] && !counts_own {
            return Err(
                "not supported: padding of two kinds, by Pad and by its own that does not count; supported: one \
                        of them"
                    .to_owned(),
            );
        }
        if !is_mean && before != [0; 4] && fill == Fill::Zeros && !self.is_not_negative(signal) {
            return Err(
                "not supported: the largest of padded zeros and of what may be negative; supported: Pad behind a \
                        Relu, or pads of the MaxPool"
                    .to_owned(),
            );
        }
        let window = Window {
            kernel,
            stride,
            padding: [0, 1, 2, 3].map(|side| padding[side] + before[side]),
            ceil,
            counts_padding: !is_mean || counts_own || before != [0; 4],
        };
        let kind = if is_mean { PoolKind::Mean } else { PoolKind::Max };
        let output = window.pool(kind).output(inner);
        if output.contains(&0) {
            return Err(format!("its window {}×{} exceeds its {}×{} input", kernel[0], kernel[1], inner[1], inner[2]));
        }
        let window = plain(window, inner);
        if window.kernel == [1; 2] && window.stride == [1; 2] && window.padding == [0; 4] {
            return Ok(x);
        }
        if image.is_vector {
            return Err(
                "not supported: a window on what a pool of the whole image gives; supported: one of 1×1".to_owned()
            );
        }
        let layer = if is_mean { LayerKind::AvgPool(window) } else { LayerKind::MaxPool(window) };
        let signal = self.push(node, Kind::Layer(layer), vec![signal], Vec::new(), output.to_vec())?;
        Ok(Ref { signal, view: seen(&x.view, output, image.is_line) })
    }

    /// Whether nothing in a signal can be negative: spikes, maybe behind pools.
    pub(super) fn is_not_negative(&self, signal: usize) -> bool {
        is_not_negative(&self.signals, signal)
    }

    /// Means, sums and maxima over rows and columns.
    pub(super) fn reduce(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Ref, String> {
        let x = self.signal(node, 0)?;
        let is_global = node.op_type.starts_with("Global");
        let (axes, keep) = if is_global {
            ((2..x.view.dims.len()).collect(), true)
        } else {
            let empty = attributes.int("noop_with_empty_axes", 0)? != 0;
            let axes = self.listed(node, attributes, "axes", 1)?.unwrap_or_default();
            let keep = attributes.int("keepdims", 1)? != 0;
            match &axes[..] {
                [] if empty => return Ok(x),
                [] => ((0..x.view.dims.len()).collect(), keep),
                axes => (x.view.axes(axes)?, keep),
            }
        };
        let factors: Vec<Factor> = axes.iter().flat_map(|&axis| x.view.dims[axis].clone()).collect();
        let kept = |signal: usize, view: View| {
            let dims = view.dims.into_iter().enumerate().filter(|(axis, _)| keep || !axes.contains(axis));
            let dims = dims.map(|(axis, dim)| if axes.contains(&axis) { Vec::new() } else { dim });
            Ref { signal, view: x.view.with(dims.collect()) }
        };
        if factors.is_empty() {
            return Ok(kept(x.signal, x.view.clone()));
        }
        let refused = || {
            format!(
                "not supported: over the axes {axes:?} of {}; supported: over all rows, all columns, or both",
                super::view::sizes_text(&x.view.sizes())
            )
        };
        let [c, h, w]: [usize; 3] = self.signals[x.signal].shape[..].try_into().map_err(|_| refused())?;
        let window = match in_order(factors) {
            factors if factors == dim(h * w, 1) => [h, w],
            factors if factors == dim(w, 1) => [1, w],
            factors if factors == dim(h, w) => [h, 1],
            _ => return Err(refused()),
        };
        let (signal, rest) = self.over(node, x.signal, [c, h, w], window)?;
        let area = rest[1] * rest[2];
        let moved = |factor: &Factor| match *factor {
            Factor::Values { size, stride } if stride >= h * w => {
                Factor::Values { size, stride: stride / (h * w) * area }
            }
            Factor::Values { size, stride } if window[0] == 1 => Factor::Values { size, stride: stride / w },
            factor => factor,
        };
        let dims = x.view.dims.iter().map(|dim| dim.iter().map(moved).collect()).collect();
        Ok(kept(signal, x.view.with(dims)))
    }

    /// The mean, sum or largest of windows that cover all rows, all columns, or both; returns the signal and its shape.
    fn over(
        &mut self,
        node: &'a Node,
        from: usize,
        [c, h, w]: [usize; 3],
        window: [usize; 2],
    ) -> Result<(usize, [usize; 3]), String> {
        let rest = [c, h / window[0], w / window[1]];
        let windows = Window { kernel: window, stride: window, padding: [0; 4], ceil: false, counts_padding: true };
        if matches!(node.op_type.as_str(), "GlobalMaxPool" | "ReduceMax") {
            let kind = Kind::Layer(LayerKind::MaxPool(windows));
            return Ok((self.push(node, kind, vec![from], Vec::new(), rest.to_vec())?, rest));
        }
        let (kind, shape) = if rest[1..] == [1; 2] {
            (LayerKind::GlobalAvgPool, vec![c])
        } else {
            (LayerKind::AvgPool(windows), rest.to_vec())
        };
        let mut signal = self.push(node, Kind::Layer(kind), vec![from], Vec::new(), shape.clone())?;
        if node.op_type == "ReduceSum" {
            let n = (window[0] * window[1]) as f64;
            let sum = Kind::Affine(Affine { scale: vec![n; c], shift: vec![0.0; c] });
            signal = self.push(node, sum, vec![signal], Vec::new(), shape)?;
        }
        Ok((signal, rest))
    }

    /// Padding of rows and columns, which the layer behind it takes, and of channels.
    pub(super) fn pad(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Ref, String> {
        let x = self.signal(node, 0)?;
        let mode = attributes.string("mode", "constant")?;
        let mut value = attributes.float("value", 0.0)?;
        if optional(node, 2).is_some() {
            value = self.floats(node, 2)?.values.first().copied().unwrap_or_default();
        }
        let pads = self.listed(node, attributes, "pads", 1)?.unwrap_or_default();
        let axes = match optional(node, 3) {
            Some(_) => self.known(node, 3)?.iter().map(|&axis| x.view.axis(axis)).collect::<Result<_, _>>()?,
            None => (0..x.view.dims.len()).collect::<Vec<usize>>(),
        };
        if pads.len() != 2 * axes.len() {
            return Err(format!("pads {pads:?}; it needs two numbers for each of {} dimensions", axes.len()));
        }
        if pads.iter().all(|pad| *pad == 0) {
            return Ok(x);
        }
        if mode != "constant" {
            return Err(format!("not supported: padding with mode {mode}; supported: with zeros"));
        }
        if !pads.iter().all(|pad| (0..=MAX_WINDOW).contains(pad)) {
            return Err(format!("not supported: pads {pads:?}; supported: numbers from 0 to {MAX_WINDOW}"));
        }
        let fill = match value {
            0.0 => Fill::Zeros,
            // The lowest number there is stands for it, too.
            value if value <= f32::MIN => Fill::Nothing,
            value => return Err(format!("not supported: padding with {value}; supported: with zeros")),
        };
        let of = |axis: usize| {
            let place = axes.iter().position(|&padded| padded == axis);
            place.map_or([0; 2], |place| [pads[place] as usize, pads[axes.len() + place] as usize])
        };
        let sides: Vec<[usize; 2]> = (0..x.view.dims.len()).map(of).collect();
        self.padded(node, &x, &sides, fill)
    }

    /// - `sides`: before and behind each dimension
    fn padded(&mut self, node: &'a Node, x: &Ref, sides: &[[usize; 2]], fill: Fill) -> Result<Ref, String> {
        let refused = || "not supported: padding of these dimensions; supported: channels, rows and columns".to_owned();
        if sides.first() != Some(&[0; 2]) {
            return Err(refused());
        }
        // Channels may stand last.
        let shape = self.signals[x.signal].shape.clone();
        let last = <[usize; 3]>::try_from(shape).ok().filter(|&[c, h, w]| {
            x.view.dims.len() == 4 && x.view.dims[1..] == [dim(h, w), dim(w, 1), dim(c, h * w)] && h * w > 1
        });
        let (image, order) = if let Some(shape) = last {
            (Image { signal: x.signal, shape, is_vector: false, is_line: false }, vec![3, 1, 2])
        } else {
            let image = self.image(node, x)?;
            (image, if image.is_line { vec![1, 2] } else { vec![1, 2, 3] })
        };
        if image.is_vector {
            return Err(refused());
        }
        let [channels, spatial @ ..] = &order[..] else { unreachable!("two or three dimensions") };
        let mut padding = [0; 4];
        for (place, &axis) in spatial.iter().rev().enumerate() {
            padding[1 - place] = sides[axis][0];
            padding[3 - place] = sides[axis][1];
        }
        let (mut signal, [mut c, h, w]) = (image.signal, image.shape);
        if sides[*channels] != [0; 2] {
            if fill == Fill::Nothing {
                return Err(refused());
            }
            let [before, behind] = sides[*channels];
            let rows: Vec<Option<usize>> = std::iter::repeat_n(None, before)
                .chain((0..c).map(Some))
                .chain(std::iter::repeat_n(None, behind))
                .collect();
            c = rows.len();
            signal = self.selected(node, signal, [image.shape[0], h, w], &rows)?;
        }
        let [h, w] = [h + padding[0] + padding[2], w + padding[1] + padding[3]];
        if padding != [0; 4] {
            signal = self.push(node, Kind::Pad { padding, fill }, vec![signal], Vec::new(), vec![c, h, w])?;
        }
        let view = match last {
            Some(_) => x.view.with(vec![x.view.dims[0].clone(), dim(h, w), dim(w, 1), dim(c, h * w)]),
            None => seen(&x.view, [c, h, w], image.is_line),
        };
        Ok(Ref { signal, view })
    }

    /// Channels in another order, or zeros in their place: a convolution of one tap with weights of 0 and 1.
    pub(super) fn selected(
        &mut self,
        node: &Node,
        signal: usize,
        [c, h, w]: [usize; 3],
        rows: &[Option<usize>],
    ) -> Result<usize, String> {
        let conv = Conv2d { bias: false, ..Conv2d::square(rows.len(), 1, 1, 0) };
        let mut values = vec![0.0; rows.len() * c];
        for (row, channel) in rows.iter().enumerate() {
            if let Some(channel) = channel {
                values[row * c + channel] = 1.0;
            }
        }
        let weight = TensorF32 { shape: vec![rows.len(), c, 1, 1], values };
        let kind = Kind::Layer(LayerKind::Conv2d(conv));
        self.push(node, kind, vec![signal], vec![("weight", weight)], vec![rows.len(), h, w])
    }

    /// Some rows and columns of an image: a convolution of each channel with a kernel that has a single 1.
    ///
    /// - `first`, `n`, `step`: down and across
    pub(super) fn cut(
        &mut self,
        node: &Node,
        signal: usize,
        [c, h, w]: [usize; 3],
        first: [usize; 2],
        n: [usize; 2],
        step: [usize; 2],
    ) -> Result<usize, String> {
        let size = [h, w];
        // The smallest kernel that reaches from its beginning to the first row and leaves no more windows than rows are wanted.
        let kernel = [0, 1].map(|axis| (first[axis] + 1).max((size[axis] + 1).saturating_sub(n[axis] * step[axis])));
        let conv = Conv2d { kernel, stride: step, groups: c, bias: false, ..Conv2d::square(c, 1, 1, 0) };
        let output = conv.on([c, h, w]).output();
        if output != [c, n[0], n[1]] || kernel.iter().any(|&size| size as i64 > MAX_WINDOW) {
            return Err(format!("not supported: {}×{} of {h}×{w} positions; supported: all, or every nth", n[0], n[1]));
        }
        let mut values = vec![0.0; c * kernel[0] * kernel[1]];
        for channel in 0..c {
            values[(channel * kernel[0] + first[0]) * kernel[1] + first[1]] = 1.0;
        }
        let weight = TensorF32 { shape: vec![c, 1, kernel[0], kernel[1]], values };
        self.push(node, Kind::Layer(LayerKind::Conv2d(conv)), vec![signal], vec![("weight", weight)], output.to_vec())
    }
}

/// A window without what makes no difference on its input, so that the same pool is the same layer.
fn plain(mut window: Window, [_, h, w]: [usize; 3]) -> Window {
    let kind = PoolKind::Max;
    let floor = Window { ceil: false, ..window };
    if floor.pool(kind).output([1, h, w]) == window.pool(kind).output([1, h, w]) {
        window.ceil = false;
    }
    window.counts_padding |= window.padding == [0; 4];
    window
}

/// Whether nothing in a signal can be negative: what a rectifier gives, maybe behind pools and joins.
pub(super) fn is_not_negative(signals: &[super::walk::Signal], signal: usize) -> bool {
    let mut left = vec![signal];
    let mut seen = std::collections::HashSet::new();
    while let Some(at) = left.pop() {
        if !seen.insert(at) {
            continue;
        }
        match &signals[at].kind {
            Kind::Clip { low, .. } if *low >= 0.0 => {}
            Kind::Layer(
                LayerKind::MaxPool(_)
                | LayerKind::AvgPool(_)
                | LayerKind::GlobalAvgPool
                | LayerKind::Flatten
                | LayerKind::Concat
                | LayerKind::Slice { .. }
                | LayerKind::ChannelShuffle { .. },
            ) => left.extend(&signals[at].from),
            Kind::Layer(LayerKind::Abs) => {}
            _ => return false,
        }
    }
    true
}

/// Factors from the outermost to the innermost of a sample's values, those that go on where another ends as one.
fn in_order(mut factors: Vec<Factor>) -> Vec<Factor> {
    factors.sort_unstable_by_key(|factor| {
        std::cmp::Reverse(if let Factor::Values { stride, .. } = factor { *stride } else { usize::MAX })
    });
    merged(&factors)
}

/// Sizes down and across; across alone where the file has no rows.
fn spatial(attributes: &Attributes, name: &str, is_line: bool, low: i64) -> Result<Option<[usize; 2]>, String> {
    let Some(sizes) = attributes.ints(name)? else { return Ok(None) };
    let n = if is_line { 1 } else { 2 };
    if sizes.len() != n || !sizes.iter().all(|size| (low..=MAX_WINDOW).contains(size)) {
        let many = if is_line { "one number" } else { "two numbers" };
        return Err(format!("{name} {sizes:?}; it needs {many} from {low} to {MAX_WINDOW}"));
    }
    Ok(Some(if is_line { [1, sizes[0] as usize] } else { [sizes[0] as usize, sizes[1] as usize] }))
}

fn sweep(attributes: &Attributes, kernel: [usize; 2], image: Image) -> Result<Sweep, String> {
    let stride = spatial(attributes, "strides", image.is_line, 1)?.unwrap_or([1; 2]);
    let dilation = spatial(attributes, "dilations", image.is_line, 1)?.unwrap_or([1; 2]);
    let pads = attributes.ints("pads")?;
    let auto = attributes.string("auto_pad", "NOTSET")?;
    let padding = match auto.as_str() {
        "NOTSET" | "" => given_padding(pads, image.is_line)?,
        "VALID" => [0; 4],
        "SAME_UPPER" | "SAME_LOWER" => {
            let mut padding = [0; 4];
            for axis in [0, 1] {
                let [less, more] = same(image.shape[1 + axis], kernel[axis], stride[axis], dilation[axis]);
                let [before, behind] = if auto == "SAME_UPPER" { [less, more] } else { [more, less] };
                (padding[axis], padding[2 + axis]) = (before, behind);
            }
            padding
        }
        other => {
            return Err(format!(
                "not supported: auto_pad {other}; supported: NOTSET, VALID, SAME_UPPER and SAME_LOWER"
            ));
        }
    };
    Ok(Sweep { stride, dilation, padding })
}

/// Rows above, columns to the left, rows below, columns to the right.
fn given_padding(pads: Option<&Vec<i64>>, is_line: bool) -> Result<[usize; 4], String> {
    let Some(pads) = pads else { return Ok([0; 4]) };
    let n = if is_line { 2 } else { 4 };
    if pads.len() != n || !pads.iter().all(|pad| (0..=MAX_WINDOW).contains(pad)) {
        let many = if is_line { "two numbers" } else { "four numbers" };
        return Err(format!("pads {pads:?}; it needs {many} from 0 to {MAX_WINDOW}"));
    }
    let at = |place: usize| pads[place] as usize;
    Ok(if is_line { [0, at(0), 0, at(1)] } else { [at(0), at(1), at(2), at(3)] })
}

/// Padding that gives as many outputs as there are strides in the input, the larger half last.
fn same(n: usize, size: usize, stride: usize, dilation: usize) -> [usize; 2] {
    let extent = dilation * size.saturating_sub(1) + 1;
    let total = ((n.div_ceil(stride) - 1) * stride + extent).saturating_sub(n);
    [total / 2, total - total / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_that_keeps_the_size_is_that_computed_by_hand() {
        assert_eq!(same(8, 3, 1, 1), [1, 1]);
        assert_eq!(same(8, 2, 1, 1), [0, 1]);
        assert_eq!(same(7, 3, 2, 1), [1, 1]);
        assert_eq!(same(8, 3, 2, 1), [0, 1]);
        assert_eq!(same(8, 2, 2, 1), [0, 0]);
        assert_eq!(same(8, 3, 1, 2), [2, 2]);
        assert_eq!(same(8, 1, 3, 1), [0, 0]);
    }
}
