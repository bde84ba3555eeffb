//! Nodes that move values without changing them, and what is computed of constants and shapes.

use model::architecture::LayerKind;

use super::attributes::Attributes;
use super::constants::{Constant, combined, dequantised, each, of_either, quantised};
use super::proto::{Node, data_type};
use super::tensor::Numbers;
use super::view::{Factor, Size, axis_of, dim, length, sizes_text};
use super::walk::{Kind, Ref, Value, Walk, optional, seen};

const FLOATS: [i32; 4] = [data_type::FLOAT, data_type::FLOAT16, data_type::BFLOAT16, data_type::DOUBLE];

/// What a slice takes of an axis.
struct Cut {
    axis: usize,
    first: usize,
    n: usize,
    step: i64,
}

impl<'a> Walk<'a> {
    pub(super) fn dropout(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Vec<Value<'a>>, String> {
        attributes.pass(&["ratio", "seed"]);
        if optional(node, 2).is_some() && self.known(node, 2)? != [0] {
            return Err("is in training mode; export the network with net.eval()".to_owned());
        }
        Ok(vec![self.value(node, 0)?.clone()])
    }

    /// Between types of floats, which are all computed in the same way here.
    pub(super) fn cast(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Ref, String> {
        attributes.pass(&["saturate", "round_mode"]);
        let x = self.signal(node, 0)?;
        let to = attributes.int("to", data_type::FLOAT.into())?;
        if FLOATS.map(i64::from).contains(&to) {
            return Ok(x);
        }
        Err(format!("not supported: a result as type {to}; supported: floats; export the network in one type"))
    }

    /// Reshapes and transpositions.
    pub(super) fn moved(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Ref, String> {
        let Ref { signal, view } = self.signal(node, 0)?;
        let view = match node.op_type.as_str() {
            "Transpose" => view.transposed(attributes.ints("perm")?.map(|order| &order[..]))?,
            "Flatten" => view.flattened(attributes.int("axis", 1)?)?,
            "Squeeze" => view.squeezed(self.listed(node, attributes, "axes", 1)?.as_deref())?,
            "Unsqueeze" => {
                let axes = self.listed(node, attributes, "axes", 1)?.ok_or("has no axes")?;
                view.unsqueezed(&axes)?
            }
            _ => {
                let allow_zero = attributes.int("allowzero", 0)? != 0;
                view.reshaped(&self.sizes(node, 1)?.values, allow_zero)?
            }
        };
        Ok(Ref { signal, view })
    }

    /// Sizes of a tensor's dimensions, or their product.
    pub(super) fn shape(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Value<'a>, String> {
        let all = match self.value(node, 0)? {
            Value::Signal(x) => x.view.sizes(),
            Value::Tensor(tensor) => tensor.dims.iter().map(|&size| Size::Known(size)).collect(),
            Value::Constant(constant) => {
                let dims = match &**constant {
                    Constant::Floats(numbers) => &numbers.dims,
                    Constant::Sizes(numbers) => &numbers.dims,
                };
                dims.iter().map(|&size| Size::Known(size as i64)).collect()
            }
        };
        if node.op_type == "Size" {
            let known = |size: &Size| if let Size::Known(size) = size { Some(*size) } else { None };
            let product = all.iter().map(known).try_fold(1_i64, |product, size| product.checked_mul(size?));
            let product = product.ok_or("depends on the number of samples")?;
            return self.computed(Constant::Sizes(Numbers { dims: Vec::new(), values: vec![Size::Known(product)] }));
        }
        let rank = all.len() as i64;
        let place = |axis: i64| (if axis < 0 { axis.saturating_add(rank) } else { axis }).clamp(0, rank) as usize;
        let (start, end) = (place(attributes.int("start", 0)?), place(attributes.int("end", rank)?));
        let values = all[start..end.max(start)].to_vec();
        self.computed(Constant::Sizes(Numbers { dims: vec![values.len()], values }))
    }

    // Parts of signals.

    fn cuts(&self, node: &'a Node, attributes: &Attributes, sizes: &[usize]) -> Result<Vec<Cut>, String> {
        let starts = self.listed(node, attributes, "starts", 1)?.ok_or("has no starts")?;
        let ends = self.listed(node, attributes, "ends", 2)?.ok_or("has no ends")?;
        let axes = match self.listed(node, attributes, "axes", 3)? {
            Some(axes) => axes,
            None => (0..starts.len() as i64).collect(),
        };
        let steps = if optional(node, 4).is_some() { self.known(node, 4)? } else { vec![1; starts.len()] };
        if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
            return Err("has lists of different lengths".to_owned());
        }
        let cut = |at: usize| {
            let axis = axis_of(axes[at], sizes.len())?;
            let (n, step) = (sizes[axis] as i64, steps[at]);
            let low = if step < 0 { -1 } else { 0 };
            let bound =
                |place: i64, most: i64| (if place < 0 { place.saturating_add(n) } else { place }).clamp(low, most);
            let most = if step < 0 { n - 1 } else { n };
            let (first, end) = (bound(starts[at], most), bound(ends[at], most));
            if step == 0 {
                return Err("has a step of 0".to_owned());
            }
            let n = if step > 0 { end - first } else { first - end };
            let n = (n.max(0) as u64).div_ceil(step.unsigned_abs()) as usize;
            Ok(Cut { axis, first: first.max(0) as usize, n, step })
        };
        (0..starts.len()).map(cut).collect()
    }

    pub(super) fn slice(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Ref, String> {
        let mut x = self.signal(node, 0)?;
        let sizes: Vec<usize> = x.view.dims.iter().map(|dim| length(dim)).collect();
        let mut spatial = Vec::new();
        for cut in self.cuts(node, attributes, &sizes)? {
            if cut.step == 1 && cut.n == sizes[cut.axis] {
                continue;
            }
            if x.view.dims[cut.axis].contains(&Factor::Samples) {
                return Err("not supported: some of the samples; supported: all of them".to_owned());
            }
            if cut.n == 0 {
                return Err(format!("takes nothing of axis {}", cut.axis));
            }
            if cut.step < 0 {
                return Err("not supported: a slice in reverse; supported: forwards".to_owned());
            }
            if cut.axis >= 2 && x.view.dims.len() > 2 {
                spatial.push(cut);
            } else if cut.step == 1 {
                x = self.part(node, &x, cut.axis, cut.first, cut.n)?;
            } else {
                let indices: Vec<usize> = (0..cut.n).map(|at| cut.first + at * cut.step as usize).collect();
                x = self.picked(node, &x, cut.axis, &indices)?;
            }
        }
        if spatial.is_empty() { Ok(x) } else { self.of_space(node, &x, &spatial) }
    }

    /// Some channels, or features of a vector.
    fn part(&mut self, node: &'a Node, x: &Ref, axis: usize, first: usize, n: usize) -> Result<Ref, String> {
        let mut x = x.clone();
        let refused = |x: &Ref| {
            format!(
                "not supported: a part of axis {axis} of {}; supported: channels, and features of a vector",
                sizes_text(&x.view.sizes())
            )
        };
        if matches!(x.view.dims.len(), 3 | 4) && x.view.dims[axis].len() > 1 {
            let image = self.image(node, &x)?;
            x = Ref { signal: image.signal, view: seen(&x.view, image.shape, image.is_line) };
        }
        let [Factor::Values { size, stride }] = x.view.dims[axis][..] else { return Err(refused(&x)) };
        let shape = self.signals[x.signal].shape.clone();
        let mut area: usize = shape[1..].iter().product();
        if size * stride != shape[0] * area {
            return Err(refused(&x));
        }
        if !stride.is_multiple_of(area) {
            // Features of an image that was flattened.
            (x.signal, area) = (self.flat(node, x.signal)?, 1);
        }
        let per_index = stride / area;
        let (start, end) = (first * per_index, (first + n) * per_index);
        let mut shape = self.signals[x.signal].shape.clone();
        shape[0] = end - start;
        let kind = Kind::Layer(LayerKind::Slice { start, end });
        let signal = self.push(node, kind, vec![x.signal], Vec::new(), shape)?;
        let mut dims = x.view.dims.clone();
        dims[axis] = dim(n, stride);
        Ok(Ref { signal, view: x.view.with(dims) })
    }

    /// Channels one by one, side by side.
    fn picked(&mut self, node: &'a Node, x: &Ref, axis: usize, indices: &[usize]) -> Result<Ref, String> {
        let mut parts: Vec<Ref> = Vec::new();
        let mut at = 0;
        while at < indices.len() {
            let n = (at..indices.len()).take_while(|&next| indices[next] == indices[at] + (next - at)).count();
            parts.push(self.part(node, x, axis, indices[at], n)?);
            at += n;
        }
        if let [part] = &parts[..] { Ok(part.clone()) } else { self.joined(node, &parts, axis) }
    }

    /// Some rows and columns.
    fn of_space(&mut self, node: &'a Node, x: &Ref, cuts: &[Cut]) -> Result<Ref, String> {
        let image = self.image(node, x)?;
        if image.is_vector {
            return Err("takes rows or columns of what has one".to_owned());
        }
        let (mut first, mut n, mut step) = ([0; 2], [image.shape[1], image.shape[2]], [1; 2]);
        for cut in cuts {
            let place = if image.is_line { 1 } else { cut.axis - 2 };
            (first[place], n[place], step[place]) = (cut.first, cut.n, cut.step as usize);
        }
        let signal = self.cut(node, image.signal, image.shape, first, n, step)?;
        let shape = [image.shape[0], n[0], n[1]];
        Ok(Ref { signal, view: seen(&x.view, shape, image.is_line) })
    }

    pub(super) fn split(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Vec<Ref>, String> {
        let x = self.signal(node, 0)?;
        let axis = x.view.axis(attributes.int("axis", 0)?)?;
        let n = length(&x.view.dims[axis]);
        if x.view.dims[axis].contains(&Factor::Samples) {
            return Err("not supported: samples split; supported: channels".to_owned());
        }
        let sizes = self.parts_of(node, attributes, n)?;
        let mut first = 0;
        let mut parts = Vec::with_capacity(sizes.len());
        for (size, name) in sizes.into_iter().zip(&node.output) {
            if size == n {
                return Ok(vec![x]);
            }
            let part = self.part(node, &x, axis, first, size)?;
            self.signals[part.signal].value.clone_from(name);
            parts.push(part);
            first += size;
        }
        Ok(parts)
    }

    /// Sizes of the parts that something is split into.
    fn parts_of(&self, node: &'a Node, attributes: &Attributes, n: usize) -> Result<Vec<usize>, String> {
        let given = self.listed(node, attributes, "split", 1)?;
        let n_parts = attributes.int("num_outputs", node.output.len() as i64)?;
        let sizes: Vec<usize> = if let Some(sizes) = given {
            sizes.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect()
        } else {
            let n_parts = usize::try_from(n_parts).ok().filter(|parts| (1..=n).contains(parts));
            let n_parts = n_parts.ok_or_else(|| format!("splits {n} into no whole parts"))?;
            let each = n.div_ceil(n_parts);
            (0..n_parts).map(|part| each.min(n.saturating_sub(part * each))).collect()
        };
        let sum = sizes.iter().try_fold(0_usize, |sum, &size| sum.checked_add(size));
        if sum != Some(n) || sizes.contains(&0) {
            return Err(format!("splits {n} into {sizes:?}"));
        }
        Ok(sizes)
    }

    pub(super) fn gather(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Ref, String> {
        let x = self.signal(node, 0)?;
        let axis = x.view.axis(attributes.int("axis", 0)?)?;
        let Constant::Sizes(at) = self.constant(node, 1)? else {
            return Err("its indices are no whole numbers".to_owned());
        };
        let n = length(&x.view.dims[axis]);
        let index = |size: &Size| match size {
            Size::Known(index) => axis_of(*index, n).map_err(|_| format!("gathers index {index} of {n}")),
            Size::Samples => Err("gathers by the number of samples".to_owned()),
        };
        let indices = at.values.iter().map(index).collect::<Result<Vec<usize>, String>>()?;
        if x.view.dims[axis].contains(&Factor::Samples) || at.dims.len() > 1 || indices.is_empty() {
            return Err(format!(
                "not supported: indices of {:?} along axis {axis}; supported: channels in a list",
                at.dims
            ));
        }
        let picked = if n == 1 && indices == [0] { x } else { self.picked(node, &x, axis, &indices)? };
        let mut view = picked.view.clone();
        if at.dims.is_empty() {
            view.dims.remove(axis);
        }
        Ok(Ref { signal: picked.signal, view })
    }

    pub(super) fn concat(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Ref, String> {
        let mut parts = Vec::with_capacity(node.input.len());
        for at in 0..node.input.len() {
            match self.value(node, at)? {
                Value::Signal(x) => parts.push(x.clone()),
                _ => {
                    return Err(format!(
                        "not supported: a constant, `{}`, beside results; supported: results",
                        node.input[at]
                    ));
                }
            }
        }
        let axis = parts[0].view.axis(attributes.int("axis", 1)?)?;
        self.joined(node, &parts, axis)
    }

    /// Channels side by side, or features.
    fn joined(&mut self, node: &'a Node, parts: &[Ref], axis: usize) -> Result<Ref, String> {
        if let [part] = parts {
            return Ok(part.clone());
        }
        let mut parts = parts.to_vec();
        let refused = |parts: &[Ref]| {
            let text: Vec<String> = parts.iter().map(|x| sizes_text(&x.view.sizes())).collect();
            format!(
                "not supported: {} side by side along axis {axis}; supported: channels of images of the same size, and features of \
                 vectors",
                text.join(" and ")
            )
        };
        for x in parts.iter_mut().filter(|x| x.view.dims.get(axis).is_some_and(|dim| dim.len() > 1)) {
            if matches!(x.view.dims.len(), 3 | 4) {
                let image = self.image(node, x)?;
                *x = Ref { signal: image.signal, view: seen(&x.view, image.shape, image.is_line) };
            }
        }
        let shape = |walk: &Self, x: &Ref| walk.signals[x.signal].shape.clone();
        let along = |walk: &Self, x: &Ref| {
            let shape = shape(walk, x);
            let area: usize = shape[1..].iter().product();
            x.view.dims.get(axis).is_some_and(|along| *along == dim(shape[0], area))
        };
        // Where they are flattened, features of vectors.
        if parts.iter().any(|x| !along(self, x) || shape(self, x).len() != shape(self, &parts[0]).len()) {
            for x in &mut parts {
                x.signal = self.flat(node, x.signal)?;
            }
        }
        let others = |x: &Ref| -> Vec<Vec<Factor>> {
            x.view.dims.iter().enumerate().filter(|(at, _)| *at != axis).map(|(_, dim)| dim.clone()).collect()
        };
        let first = parts[0].clone();
        let fits =
            |x: &Ref| along(self, x) && others(x) == others(&first) && shape(self, x)[1..] == shape(self, &first)[1..];
        if !parts.iter().all(fits) {
            return Err(refused(&parts));
        }
        let mut joined = shape(self, &first);
        joined[0] = parts.iter().map(|x| self.signals[x.signal].shape[0]).sum();
        let area: usize = joined[1..].iter().product();
        let mut dims = first.view.dims.clone();
        dims[axis] = dim(joined[0], area);
        let from = parts.iter().map(|x| x.signal).collect();
        let signal = self.push(node, Kind::Layer(LayerKind::Concat), from, Vec::new(), joined)?;
        Ok(Ref { signal, view: first.view.with(dims) })
    }

    // What is computed of constants.

    pub(super) fn folded(&mut self, node: &'a Node, attributes: &Attributes<'a>) -> Result<Vec<Value<'a>>, String> {
        let one = |value: Value<'a>| Ok(vec![value]);
        let constant = match node.op_type.as_str() {
            "Constant" => return one(literal(attributes)?),
            "Shape" | "Size" => return one(self.shape(node, attributes)?),
            "Split" => return self.split_constant(node, attributes),
            "Cast" | "CastLike" => self.cast_constant(node, attributes)?,
            "DequantizeLinear" | "QuantizeLinear" => Constant::Floats(self.of_steps(node, attributes)?),
            "ConstantOfShape" => self.filled(node, attributes)?,
            "Concat" => {
                let axis = attributes.int("axis", 0)?;
                self.concat_constants(node, axis)?
            }
            "Slice" => {
                let constant = self.constant(node, 0)?;
                of_either!(constant, numbers => self.slice_constant(node, attributes, numbers)?)
            }
            "Gather" => {
                let axis = attributes.int("axis", 0)?;
                let at = self.known(node, 1)?;
                let at_dims = self.sizes(node, 1)?.dims;
                of_either!(self.constant(node, 0)?, numbers => {
                    let axis = axis_of(axis, numbers.dims.len())?;
                    let places = at.iter().map(|&at| axis_of(at, numbers.dims[axis])).collect::<Result<Vec<_>, _>>()?;
                    numbers.gathered(axis, &Numbers { dims: at_dims, values: places })?
                })
            }
            "Transpose" => {
                let order = attributes.ints("perm")?.map(|order| &order[..]);
                of_either!(self.taken(node)?, numbers => numbers.transposed(order)?)
            }
            "Reshape" => {
                let allow_zero = attributes.int("allowzero", 0)? != 0;
                let target = self.known(node, 1)?;
                of_either!(self.taken(node)?, numbers => numbers.reshaped(&target, allow_zero)?)
            }
            "Flatten" => {
                let axis = attributes.int("axis", 1)?;
                of_either!(self.taken(node)?, numbers => numbers.flattened(axis)?)
            }
            "Squeeze" => {
                let axes = self.listed(node, attributes, "axes", 1)?;
                of_either!(self.taken(node)?, numbers => numbers.squeezed(axes.as_deref())?)
            }
            "Unsqueeze" => {
                let axes = self.listed(node, attributes, "axes", 1)?.ok_or("has no axes")?;
                of_either!(self.taken(node)?, numbers => numbers.unsqueezed(&axes)?)
            }
            "Expand" => {
                let target = self.known(node, 1)?;
                let target: Option<Vec<usize>> = target.iter().map(|&size| usize::try_from(size).ok()).collect();
                let target = target.ok_or("expands to a negative size")?;
                of_either!(self.taken(node)?, numbers => numbers.expanded(&target)?)
            }
            "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Sum" | "Max" | "Min" => {
                let mut constant = self.constant(node, 0)?;
                for at in 1..node.input.len() {
                    constant = combined(&node.op_type, &constant, &self.constant(node, at)?)?;
                }
                constant
            }
            other => match self.constant(node, 0)? {
                Constant::Floats(numbers) => Constant::Floats(each(other, numbers)?),
                // Whole already.
                Constant::Sizes(sizes) if matches!(other, "Floor" | "Ceil") => Constant::Sizes(sizes),
                Constant::Sizes(_) => return Err(format!("`{other}` of whole numbers is not read")),
            },
        };
        Ok(vec![self.computed(constant)?])
    }

    /// The first input, without a copy where it is read for the last time.
    fn taken(&mut self, node: &'a Node) -> Result<Constant, String> {
        if self.constant_type(node, 0)? { self.floats(node, 0).map(Constant::Floats) } else { self.constant(node, 0) }
    }

    /// Whether a constant is of floats.
    fn constant_type(&self, node: &'a Node, at: usize) -> Result<bool, String> {
        Ok(match self.value(node, at)? {
            Value::Tensor(tensor) => FLOATS.contains(&tensor.data_type),
            Value::Constant(constant) => matches!(**constant, Constant::Floats(_)),
            Value::Signal(_) => false,
        })
    }

    fn slice_constant<T: Clone>(
        &self,
        node: &'a Node,
        attributes: &Attributes,
        mut numbers: Numbers<T>,
    ) -> Result<Numbers<T>, String> {
        for Cut { axis, first, n, step } in self.cuts(node, attributes, &numbers.dims.clone())? {
            numbers = numbers.sliced(axis, first, n, step as isize)?;
        }
        Ok(numbers)
    }

    fn split_constant(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Vec<Value<'a>>, String> {
        let axis = attributes.int("axis", 0)?;
        let whole = self.constant(node, 0)?;
        let dims = match &whole {
            Constant::Floats(numbers) => numbers.dims.clone(),
            Constant::Sizes(numbers) => numbers.dims.clone(),
        };
        let axis = axis_of(axis, dims.len())?;
        let mut first = 0;
        let mut parts = Vec::new();
        for size in self.parts_of(node, attributes, dims[axis])? {
            let part = of_either!(&whole, numbers => numbers.sliced(axis, first, size, 1)?);
            parts.push(self.computed(part)?);
            first += size;
        }
        Ok(parts)
    }

    fn concat_constants(&mut self, node: &'a Node, axis: i64) -> Result<Constant, String> {
        let (mut floats, mut sizes) = (Vec::new(), Vec::new());
        for at in 0..node.input.len() {
            match self.constant(node, at)? {
                Constant::Floats(numbers) => floats.push(numbers),
                Constant::Sizes(numbers) => sizes.push(numbers),
            }
        }
        match (floats.is_empty(), sizes.is_empty()) {
            (false, true) => Numbers::concatenated(&floats, axis).map(Constant::Floats),
            (true, false) => Numbers::concatenated(&sizes, axis).map(Constant::Sizes),
            _ => Err("joins floats and whole numbers".to_owned()),
        }
    }

    fn cast_constant(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Constant, String> {
        attributes.pass(&["saturate", "round_mode"]);
        let to = attributes.int("to", 0)?;
        let to_floats =
            if node.op_type == "CastLike" { self.constant_type(node, 1)? } else { FLOATS.map(i64::from).contains(&to) };
        match self.taken(node)? {
            Constant::Sizes(Numbers { dims, values }) if to_floats => {
                let float = |size: &Size| if let Size::Known(size) = size { Some(*size as f32) } else { None };
                let values = values.iter().map(float).collect::<Option<Vec<f32>>>();
                Ok(Constant::Floats(Numbers { dims, values: values.ok_or("depends on the number of samples")? }))
            }
            Constant::Floats(Numbers { dims, values }) if !to_floats => {
                let values = values.into_iter().map(|value| Size::Known(value as i64)).collect();
                Ok(Constant::Sizes(Numbers { dims, values }))
            }
            constant => Ok(constant),
        }
    }

    fn filled(&mut self, node: &'a Node, attributes: &Attributes<'a>) -> Result<Constant, String> {
        let target = self.known(node, 0)?;
        let target: Option<Vec<usize>> = target.iter().map(|&size| usize::try_from(size).ok()).collect();
        let target = target.ok_or("fills a negative size")?;
        let single = |dims: &[usize]| {
            if dims.iter().product::<usize>() == 1 { Ok(()) } else { Err("fills with several values") }
        };
        match attributes.tensor("value")? {
            None => Numbers { dims: Vec::new(), values: vec![0.0] }.expanded(&target).map(Constant::Floats),
            Some(tensor) if FLOATS.contains(&tensor.data_type) => {
                let value = self.store.floats(tensor)?;
                single(&value.dims)?;
                Numbers { dims: Vec::new(), values: value.values }.expanded(&target).map(Constant::Floats)
            }
            Some(tensor) => {
                let value = self.store.integers(tensor)?;
                single(&value.dims)?;
                let values = value.values.into_iter().map(Size::Known).collect();
                Numbers { dims: Vec::new(), values }.expanded(&target).map(Constant::Sizes)
            }
        }
    }

    /// Weights rounded to whole numbers, or read from them.
    fn of_steps(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Numbers<f32>, String> {
        attributes.pass(&["saturate"]);
        let axis = attributes.int("axis", 1)?;
        let others = ["block_size", "output_dtype", "precision"];
        for name in others {
            let value = attributes.int(name, 0)?;
            if name == "block_size" && value != 0 {
                return Err(format!(
                    "not supported: {name} {value}; supported: one scale for an axis, or for each index of it"
                ));
            }
        }
        let scale = self.floats(node, 1)?;
        let zero_type = match optional(node, 2).map(|_| self.value(node, 2)).transpose()? {
            Some(Value::Tensor(tensor)) => Some(tensor.data_type),
            _ => None,
        };
        let zero = match optional(node, 2) {
            Some(_) => Some(self.whole_numbers(node, 2)?),
            None => None,
        };
        if node.op_type == "DequantizeLinear" {
            return dequantised(&self.whole_numbers(node, 0)?, &scale, zero.as_ref(), axis);
        }
        let range = match zero_type {
            None | Some(data_type::UINT8) => [0, 255],
            Some(data_type::INT8) => [-128, 127],
            Some(data_type::UINT16) => [0, 65_535],
            Some(data_type::INT16) => [-32_768, 32_767],
            Some(other) => return Err(format!("not supported: rounds to type {other}; supported: 8 and 16 bits")),
        };
        let numbers = quantised(&self.floats(node, 0)?, &scale, zero.as_ref(), axis, range)?;
        Ok(Numbers { dims: numbers.dims, values: numbers.values.into_iter().map(|value| value as f32).collect() })
    }

    fn whole_numbers(&self, node: &'a Node, at: usize) -> Result<Numbers<i32>, String> {
        let name = &node.input[at];
        if let Value::Tensor(tensor) = self.value(node, at)? {
            return self.store.quantised(tensor).map_err(|found| format!("`{name}`: {found}"));
        }
        match self.constant(node, at)? {
            Constant::Floats(Numbers { dims, values }) => {
                Ok(Numbers { dims, values: values.into_iter().map(|value| value as i32).collect() })
            }
            Constant::Sizes(Numbers { dims, values }) => {
                let whole = |size: &Size| match size {
                    Size::Known(size) => i32::try_from(*size).ok(),
                    Size::Samples => None,
                };
                let values = values.iter().map(whole).collect::<Option<Vec<i32>>>();
                Ok(Numbers { dims, values: values.ok_or_else(|| format!("`{name}` exceeds 32 bits"))? })
            }
        }
    }
}

/// The value of a node that is a constant.
fn literal<'a>(attributes: &Attributes<'a>) -> Result<Value<'a>, String> {
    if let Some(tensor) = attributes.tensor("value")? {
        return Ok(Value::Tensor(tensor));
    }
    let Some(attribute) = attributes.single() else { return Err("has no value".to_owned()) };
    let list = |values: &[i64]| values.iter().map(|&value| Size::Known(value)).collect::<Vec<_>>();
    let constant = match attribute.name.as_str() {
        "value_float" => Constant::Floats(Numbers { dims: Vec::new(), values: vec![attribute.f] }),
        "value_floats" => {
            Constant::Floats(Numbers { dims: vec![attribute.floats.len()], values: attribute.floats.clone() })
        }
        "value_int" => Constant::Sizes(Numbers { dims: Vec::new(), values: list(&[attribute.i]) }),
        "value_ints" => Constant::Sizes(Numbers { dims: vec![attribute.ints.len()], values: list(&attribute.ints) }),
        other => return Err(format!("has a `{other}`, which is not read")),
    };
    Ok(Value::Constant(std::rc::Rc::new(constant)))
}
