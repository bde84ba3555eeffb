//! Operators on constants: what a runtime computes before it sees an input.
//!
//! Exporters leave weights reshaped, transposed and dequantised by nodes, and shapes computed from shapes. Sums and products are
//! rounded once to 32 bits, as a runtime's are.

use super::tensor::Numbers;
use super::view::{Size, axes_of, axis_of};

/// Most values of a constant that is computed: as many as a layer may have weights.
const MAX_VALUES: usize = model::Architecture::MAX_WEIGHTS;

/// Numbers that do not depend on the network's input.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Constant {
    Floats(Numbers<f32>),
    /// Whole numbers, sizes among them.
    Sizes(Numbers<Size>),
}

/// The same of numbers of either type.
macro_rules! of_either {
    ($constant:expr, $numbers:ident => $result:expr) => {
        match $constant {
            Constant::Floats($numbers) => Constant::Floats($result),
            Constant::Sizes($numbers) => Constant::Sizes($result),
        }
    };
}
pub(super) use of_either;

fn n_values(dims: &[usize]) -> Result<usize, String> {
    let n = dims.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    n.filter(|&n| n <= MAX_VALUES).ok_or_else(|| format!("a constant of {dims:?} has more than {MAX_VALUES} values"))
}

/// Distance between neighbours of each dimension.
fn strides(dims: &[usize]) -> Vec<isize> {
    let mut stride = 1;
    let mut strides: Vec<isize> = dims
        .iter()
        .rev()
        .map(|&size| {
            let own = stride;
            stride *= size as isize;
            own
        })
        .collect();
    strides.reverse();
    strides
}

impl<T: Clone> Numbers<T> {
    /// The values that lie at a place and strides from there on.
    ///
    /// - `walk`: size and stride of each dimension
    fn strided(&self, first: usize, walk: &[(usize, isize)]) -> Result<Self, String> {
        let dims: Vec<usize> = walk.iter().map(|&(size, _)| size).collect();
        let n = n_values(&dims)?;
        let mut values = Vec::with_capacity(n);
        let (outer, (inner_size, inner_stride)) = match walk.split_last() {
            Some((&inner, outer)) => (outer, inner),
            None => (walk, (1, 0)),
        };
        let mut at = vec![0; outer.len()];
        let mut start = first as isize;
        while values.len() < n {
            values.extend(
                (0..inner_size as isize).map(|step| self.values[(start + step * inner_stride) as usize].clone()),
            );
            // Like the wheels of a counter.
            for (wheel, &(size, stride)) in at.iter_mut().zip(outer).rev() {
                *wheel += 1;
                start += stride;
                if *wheel < size {
                    break;
                }
                start -= stride * size as isize;
                *wheel = 0;
            }
        }
        Ok(Self { dims, values })
    }

    pub(super) fn transposed(&self, order: Option<&[i64]>) -> Result<Self, String> {
        let rank = self.dims.len();
        let order: Vec<usize> = match order {
            Some(order) => {
                if axes_of(order, rank)?.len() != rank {
                    return Err(format!("the order {order:?} is not one of {rank} dimensions"));
                }
                order.iter().map(|&axis| axis_of(axis, rank)).collect::<Result<_, _>>()?
            }
            None => (0..rank).rev().collect(),
        };
        if let (&[rows, columns], &[1, 0]) = (&self.dims[..], &order[..]) {
            return Ok(Self { dims: vec![columns, rows], values: self.turned(rows, columns) });
        }
        let strides = strides(&self.dims);
        let walk: Vec<(usize, isize)> = order.iter().map(|&axis| (self.dims[axis], strides[axis])).collect();
        self.strided(0, &walk)
    }

    /// A matrix's values column by column, in stripes whose cache lines are read again while they are there.
    fn turned(&self, rows: usize, columns: usize) -> Vec<T> {
        const STRIPE: usize = 16;
        let Some(first) = self.values.first() else { return Vec::new() };
        let mut turned = vec![first.clone(); self.values.len()];
        for start in (0..rows).step_by(STRIPE) {
            for column in 0..columns {
                for row in start..(start + STRIPE).min(rows) {
                    turned[column * rows + row] = self.values[row * columns + column].clone();
                }
            }
        }
        turned
    }

    /// With other dimensions of the same number of values; −1 is what is left, 0 the size that stands there.
    pub(super) fn reshaped(self, target: &[i64], allow_zero: bool) -> Result<Self, String> {
        let refused = format!("reshapes a constant of {:?} to {target:?}", self.dims);
        let size = |(place, &size): (usize, &i64)| match size {
            -1 => Some(None),
            0 if !allow_zero => self.dims.get(place).copied().map(Some),
            size => usize::try_from(size).ok().map(Some),
        };
        let sizes: Option<Vec<Option<usize>>> = target.iter().enumerate().map(size).collect();
        let sizes = sizes.ok_or_else(|| refused.clone())?;
        let given = sizes.iter().flatten().try_fold(1_usize, |product, &size| product.checked_mul(size));
        let given = given.ok_or_else(|| refused.clone())?;
        let open = sizes.iter().filter(|size| size.is_none()).count();
        let left = if open == 0 || given == 0 { 1 } else { self.values.len() / given };
        let dims: Vec<usize> = sizes.into_iter().map(|size| size.unwrap_or(left)).collect();
        if open > 1 || dims.iter().try_fold(1_usize, |n, &size| n.checked_mul(size)) != Some(self.values.len()) {
            return Err(refused);
        }
        Ok(Self { dims, values: self.values })
    }

    pub(super) fn squeezed(mut self, axes: Option<&[i64]>) -> Result<Self, String> {
        let rank = self.dims.len();
        let axes = match axes {
            Some(axes) => axes_of(axes, rank)?,
            None => (0..rank).filter(|&axis| self.dims[axis] == 1).collect(),
        };
        if axes.iter().any(|&axis| self.dims[axis] != 1) {
            return Err(format!("squeezes axes {axes:?} of a constant of {:?}", self.dims));
        }
        let mut axis = 0;
        self.dims.retain(|_| {
            axis += 1;
            !axes.contains(&(axis - 1))
        });
        Ok(self)
    }

    pub(super) fn unsqueezed(mut self, axes: &[i64]) -> Result<Self, String> {
        for place in axes_of(axes, self.dims.len() + axes.len())? {
            self.dims.insert(place, 1);
        }
        Ok(self)
    }

    pub(super) fn flattened(mut self, axis: i64) -> Result<Self, String> {
        let axis = axis_of(axis, self.dims.len() + usize::from(axis >= 0))?;
        self.dims = vec![self.dims[..axis].iter().product(), self.dims[axis..].iter().product()];
        Ok(self)
    }

    /// Some indices of one axis: a first, a number of them, and the step between.
    pub(super) fn sliced(&self, axis: usize, first: usize, n: usize, step: isize) -> Result<Self, String> {
        let strides = strides(&self.dims);
        let mut walk: Vec<(usize, isize)> = self.dims.iter().copied().zip(strides.iter().copied()).collect();
        walk[axis] = (n, strides[axis] * step);
        if walk.iter().any(|&(size, _)| size == 0) {
            return Ok(Self { dims: walk.iter().map(|&(size, _)| size).collect(), values: Vec::new() });
        }
        self.strided(first * strides[axis] as usize, &walk)
    }

    pub(super) fn concatenated(parts: &[Self], axis: i64) -> Result<Self, String> {
        let first = parts.first().ok_or("joins nothing")?;
        let axis = axis_of(axis, first.dims.len())?;
        let others =
            |dims: &[usize]| dims.iter().enumerate().filter(|(at, _)| *at != axis).map(|(_, size)| *size).collect();
        let same: Vec<usize> = others(&first.dims);
        if parts.iter().any(|part| part.dims.len() != first.dims.len() || others(&part.dims) != same) {
            return Err("joins constants of different shapes".to_owned());
        }
        let mut dims = first.dims.clone();
        dims[axis] = parts.iter().map(|part| part.dims[axis]).sum();
        let n = n_values(&dims)?;
        let mut values = Vec::with_capacity(n);
        for row in 0..dims[..axis].iter().product() {
            for part in parts {
                let length: usize = part.dims[axis..].iter().product();
                values.extend_from_slice(&part.values[row * length..(row + 1) * length]);
            }
        }
        Ok(Self { dims, values })
    }

    /// Repeated along dimensions of size 1, and in dimensions in front of its own.
    pub(super) fn expanded(&self, target: &[usize]) -> Result<Self, String> {
        let dims = broadcast_dims(&self.dims, target)?;
        if dims == self.dims {
            return Ok(self.clone());
        }
        if dims.contains(&0) {
            return Ok(Self { dims, values: Vec::new() });
        }
        let own = strides(&self.dims);
        let front = dims.len() - self.dims.len();
        let stride = |at: usize| if at < front || self.dims[at - front] == 1 { 0 } else { own[at - front] };
        let walk: Vec<(usize, isize)> = dims.iter().enumerate().map(|(at, &size)| (size, stride(at))).collect();
        self.strided(0, &walk)
    }

    /// Whole parts along an axis.
    pub(super) fn gathered(&self, axis: usize, at: &Numbers<usize>) -> Result<Self, String> {
        let outer: usize = self.dims[..axis].iter().product();
        let inner: usize = self.dims[axis + 1..].iter().product();
        if at.values.iter().any(|&index| index >= self.dims[axis]) {
            return Err("gathers what is not there".to_owned());
        }
        let dims = [&self.dims[..axis], &at.dims[..], &self.dims[axis + 1..]].concat();
        let mut values = Vec::with_capacity(n_values(&dims)?);
        for row in 0..outer {
            for &index in &at.values {
                let start = (row * self.dims[axis] + index) * inner;
                values.extend_from_slice(&self.values[start..start + inner]);
            }
        }
        Ok(Self { dims, values })
    }
}

/// Dimensions that two tensors are repeated to where they are combined.
pub(super) fn broadcast_dims(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let size = |dims: &[usize], at: usize| (at + dims.len()).checked_sub(rank).map_or(1, |at| dims[at]);
    let pair = |at: usize| match (size(a, at), size(b, at)) {
        (1, size) | (size, 1) => Ok(size),
        (one, other) if one == other => Ok(one),
        _ => Err(format!("combines constants of {a:?} and {b:?}")),
    };
    (0..rank).map(pair).collect()
}

/// Combines constants number by number.
pub(super) fn combined(operator: &str, a: &Constant, b: &Constant) -> Result<Constant, String> {
    match (a, b) {
        (Constant::Floats(a), Constant::Floats(b)) => {
            let dims = broadcast_dims(&a.dims, &b.dims)?;
            let (a, b) = (a.expanded(&dims)?, b.expanded(&dims)?);
            let of = |a: f32, b: f32| {
                Ok(match operator {
                    "Add" | "Sum" => a + b,
                    "Sub" => a - b,
                    "Mul" => a * b,
                    "Div" => a / b,
                    "Pow" => a.powf(b),
                    "Max" => a.max(b),
                    "Min" => a.min(b),
                    _ => return Err(format!("`{operator}` of constants is not read")),
                })
            };
            let values = a.values.iter().zip(&b.values).map(|(&a, &b)| of(a, b)).collect::<Result<_, String>>()?;
            Ok(Constant::Floats(Numbers { dims, values }))
        }
        (Constant::Sizes(a), Constant::Sizes(b)) => {
            let dims = broadcast_dims(&a.dims, &b.dims)?;
            let (a, b) = (a.expanded(&dims)?, b.expanded(&dims)?);
            let pairs = a.values.iter().zip(&b.values);
            let values = pairs.map(|(&a, &b)| of_sizes(operator, a, b)).collect::<Result<_, String>>()?;
            Ok(Constant::Sizes(Numbers { dims, values }))
        }
        _ => Err("combines floats and whole numbers".to_owned()),
    }
}

fn of_sizes(operator: &str, a: Size, b: Size) -> Result<Size, String> {
    let result = match (operator, a, b) {
        ("Mul" | "Div", Size::Samples, Size::Known(1))
        | ("Mul", Size::Known(1), Size::Samples)
        | ("Add" | "Sub", Size::Samples, Size::Known(0))
        | ("Add", Size::Known(0), Size::Samples) => {
            return Ok(Size::Samples);
        }
        ("Add" | "Sum", Size::Known(a), Size::Known(b)) => a.checked_add(b),
        ("Sub", Size::Known(a), Size::Known(b)) => a.checked_sub(b),
        ("Mul", Size::Known(a), Size::Known(b)) => a.checked_mul(b),
        ("Div", Size::Known(a), Size::Known(b)) => a.checked_div(b),
        ("Max", Size::Known(a), Size::Known(b)) => Some(a.max(b)),
        ("Min", Size::Known(a), Size::Known(b)) => Some(a.min(b)),
        _ => None,
    };
    let [a, b] = [a, b].map(|size| super::view::sizes_text(&[size]));
    result.map(Size::Known).ok_or_else(|| format!("computes no size out of {a} and {b} by {operator}"))
}

/// A function of each number.
pub(super) fn each(operator: &str, mut numbers: Numbers<f32>) -> Result<Numbers<f32>, String> {
    let f: fn(f32) -> f32 = match operator {
        "Sqrt" => f32::sqrt,
        "Neg" => |x| -x,
        "Reciprocal" => f32::recip,
        "Abs" => f32::abs,
        "Exp" => f32::exp,
        "Log" => f32::ln,
        "Floor" => f32::floor,
        "Ceil" => f32::ceil,
        "Relu" => |x| x.max(0.0),
        _ => return Err(format!("`{operator}` of constants is not read")),
    };
    numbers.values.iter_mut().for_each(|value| *value = f(*value));
    Ok(numbers)
}

/// Weights that are kept as whole numbers, as what they stand for: `(x − zero point)·scale`, either for all or for each index of an axis.
pub(super) fn dequantised(
    numbers: &Numbers<i32>,
    scale: &Numbers<f32>,
    zero: Option<&Numbers<i32>>,
    axis: i64,
) -> Result<Numbers<f32>, String> {
    let step = Steps::new(&numbers.dims, scale, zero, axis)?;
    let of = |(at, &value): (usize, &i32)| {
        let (scale, zero) = step.at(at);
        ((f64::from(value) - zero) * scale) as f32
    };
    Ok(Numbers { dims: numbers.dims.clone(), values: numbers.values.iter().enumerate().map(of).collect() })
}

/// Weights rounded to whole numbers, half to even, and cut off at a type's ends.
pub(super) fn quantised(
    numbers: &Numbers<f32>,
    scale: &Numbers<f32>,
    zero: Option<&Numbers<i32>>,
    axis: i64,
    [low, high]: [i32; 2],
) -> Result<Numbers<i32>, String> {
    let step = Steps::new(&numbers.dims, scale, zero, axis)?;
    let of = |(at, &value): (usize, &f32)| {
        let (scale, zero) = step.at(at);
        (f64::from(value / scale as f32).round_ties_even() + zero).clamp(low.into(), high.into()) as i32
    };
    Ok(Numbers { dims: numbers.dims.clone(), values: numbers.values.iter().enumerate().map(of).collect() })
}

/// Scale and zero point of each value of a tensor.
struct Steps {
    scales: Vec<f32>,
    zeros: Vec<i32>,
    /// Values of one index of the axis.
    inner: usize,
}

impl Steps {
    fn new(dims: &[usize], scale: &Numbers<f32>, zero: Option<&Numbers<i32>>, axis: i64) -> Result<Self, String> {
        let n = scale.values.len();
        let zeros = zero.map_or_else(|| vec![0; n], |zero| zero.values.clone());
        if zeros.len() != n {
            return Err(format!("has {n} scales and {} zero points", zeros.len()));
        }
        let inner = if n == 1 {
            usize::MAX
        } else {
            let axis = axis_of(axis, dims.len())?;
            if scale.dims.len() != 1 || dims[axis] != n {
                return Err(format!(
                    "not supported: scales of {:?} for values of {dims:?}; supported: one scale, or one for each index of the axis",
                    scale.dims
                ));
            }
            dims[axis + 1..].iter().product::<usize>().max(1)
        };
        Ok(Self { scales: scale.values.clone(), zeros, inner })
    }

    fn at(&self, place: usize) -> (f64, f64) {
        let index = place / self.inner % self.scales.len();
        (self.scales[index].into(), self.zeros[index].into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(dims: &[usize]) -> Numbers<f32> {
        let n: usize = dims.iter().product();
        Numbers { dims: dims.to_vec(), values: (0..n).map(|value| value as f32).collect() }
    }

    #[test]
    fn constants_are_moved_as_values_computed_by_hand() {
        let two = numbers(&[2, 3]);
        assert_eq!(two.transposed(None).unwrap().values, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        let cube = numbers(&[2, 2, 2]).transposed(Some(&[1, 0, 2])).unwrap();
        assert_eq!(cube.values, [0.0, 1.0, 4.0, 5.0, 2.0, 3.0, 6.0, 7.0]);
        assert_eq!(two.sliced(1, 2, 2, -2).unwrap().values, [2.0, 0.0, 5.0, 3.0]);
        assert_eq!(two.sliced(0, 1, 1, 1).unwrap(), Numbers { dims: vec![1, 3], values: vec![3.0, 4.0, 5.0] });
        let joined = Numbers::concatenated(&[two.clone(), numbers(&[2, 1])], -1).unwrap();
        assert_eq!((joined.dims, joined.values), (vec![2, 4], vec![0.0, 1.0, 2.0, 0.0, 3.0, 4.0, 5.0, 1.0]));
        let row = numbers(&[3, 1]).expanded(&[1, 2]).unwrap();
        assert_eq!((row.dims, row.values), (vec![3, 2], vec![0.0, 0.0, 1.0, 1.0, 2.0, 2.0]));
        let picked = two.gathered(1, &Numbers { dims: vec![], values: vec![1] }).unwrap();
        assert_eq!((picked.dims, picked.values), (vec![2], vec![1.0, 4.0]));
        assert_eq!(two.clone().reshaped(&[0, -1, 1], false).unwrap().dims, [2, 3, 1]);
        assert!(two.clone().reshaped(&[4, -1], false).is_err());
        assert!(two.expanded(&[1 << 40, 2, 3]).unwrap_err().contains("has more than"));
    }

    #[test]
    fn whole_numbers_are_read_as_what_they_stand_for() {
        let ints = |values: &[i32]| Numbers { dims: vec![2, values.len() / 2], values: values.to_vec() };
        let scale = |values: &[f32]| Numbers { dims: vec![values.len()], values: values.to_vec() };
        let zero = Numbers { dims: vec![2], values: vec![10, -1] };
        let found = dequantised(&ints(&[10, 12, 0, 1]), &scale(&[0.5, 2.0]), Some(&zero), 0).unwrap();
        assert_eq!(found.values, [0.0, 1.0, 2.0, 4.0]);
        let one = Numbers { dims: vec![], values: vec![0.25] };
        assert_eq!(dequantised(&ints(&[4, -4]), &one, None, 1).unwrap().values, [1.0, -1.0]);
        let floats = Numbers { dims: vec![1, 4], values: vec![0.125, 0.375, 90.0, -90.0] };
        assert_eq!(quantised(&floats, &one, None, 1, [-128, 127]).unwrap().values, [0, 2, 127, -128]);
        assert!(
            dequantised(&ints(&[1, 2]), &scale(&[1.0, 2.0, 3.0]), None, 0)
                .unwrap_err()
                .contains("not supported: scales")
        );
    }
}
