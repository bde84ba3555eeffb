//! How a tensor of the file lies over the values of a signal: reshaped and transposed, without a copy of anything.
//!
//! The values of one sample have an order, channel by channel and row by row. A dimension of a tensor is a product of factors, each of
//! which walks over these values with a stride. So reshapes and transpositions, of which networks of other frameworks are full, are
//! followed exactly, and only what a layer reads in the end has to be in order.

/// Size of a dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// The number of samples, whatever it is.
    Samples,
    Known(i64),
}

/// A factor of a dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Factor {
    /// The samples; there is none where the file fixes their number to one.
    Samples,
    /// Values of a sample that lie a stride apart; at least two.
    Values { size: usize, stride: usize },
}

/// The dimensions of a tensor, each by its factors, outermost first. One of size 1 has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub(super) dims: Vec<Vec<Factor>>,
    /// Number of samples, where the file fixes it.
    pub(super) n_samples: Option<usize>,
}

/// A dimension of values that lie a stride apart.
pub(super) fn dim(size: usize, stride: usize) -> Vec<Factor> {
    if size == 1 { Vec::new() } else { vec![Factor::Values { size, stride }] }
}

/// Whether a dimension is that of the samples, or of size 1.
pub(super) fn is_samples(dim: &[Factor]) -> bool {
    matches!(dim, [] | [Factor::Samples])
}

/// Number of values of a sample along a dimension.
pub(super) fn length(dim: &[Factor]) -> usize {
    let size = |factor: &Factor| if let Factor::Values { size, .. } = factor { *size } else { 1 };
    dim.iter().map(size).product()
}

/// Neighbouring factors that walk on where the other ends, as one.
pub(super) fn merged(factors: &[Factor]) -> Vec<Factor> {
    let mut merged: Vec<Factor> = Vec::with_capacity(factors.len());
    for &factor in factors {
        if let (Some(Factor::Values { size: outer, stride: far }), Factor::Values { size, stride }) =
            (merged.last_mut(), factor)
            && *far == size * stride
        {
            (*outer, *far) = (*outer * size, stride);
        } else {
            merged.push(factor);
        }
    }
    merged
}

impl View {
    /// Dimensions of these sizes over values in order, the samples in front.
    pub(super) fn standard(n_samples: Option<usize>, sizes: &[usize]) -> Self {
        let mut stride = sizes.iter().product::<usize>();
        let of = |&size: &usize| {
            stride /= size.max(1);
            dim(size, stride)
        };
        let dims = std::iter::once(samples(n_samples)).chain(sizes.iter().map(of)).collect();
        Self { dims, n_samples }
    }

    /// The same over other dimensions.
    pub(super) fn with(&self, dims: Vec<Vec<Factor>>) -> Self {
        Self { dims, n_samples: self.n_samples }
    }

    pub(super) fn rank(&self) -> i64 {
        self.dims.len() as i64
    }

    /// Sizes as the file has them.
    pub(super) fn sizes(&self) -> Vec<Size> {
        let size = |dim: &Vec<Factor>| {
            let values = length(dim) as i64;
            match (dim.contains(&Factor::Samples), self.n_samples) {
                (false, _) => Size::Known(values),
                (true, Some(n)) => Size::Known(values * n as i64),
                (true, None) => Size::Samples,
            }
        };
        self.dims.iter().map(size).collect()
    }

    /// An axis counted from the front.
    pub(super) fn axis(&self, axis: i64) -> Result<usize, String> {
        axis_of(axis, self.dims.len())
    }

    /// Axes counted from the front, in ascending order.
    pub(super) fn axes(&self, axes: &[i64]) -> Result<Vec<usize>, String> {
        axes_of(axes, self.dims.len())
    }

    /// - `order`: the axis that stands in each place; none for all of them in reverse
    pub(super) fn transposed(&self, order: Option<&[i64]>) -> Result<Self, String> {
        let reverse: Vec<i64> = (0..self.rank()).rev().collect();
        let order = order.unwrap_or(&reverse);
        let axes = self.axes(order)?;
        if axes.len() != self.dims.len() {
            return Err(format!("the order {order:?} is not one of its {} dimensions", self.dims.len()));
        }
        let dims = order.iter().map(|&axis| Ok(self.dims[self.axis(axis)?].clone()));
        Ok(self.with(dims.collect::<Result<_, String>>()?))
    }

    /// Without dimensions of size 1; without all of them where no axes are given.
    pub(super) fn squeezed(&self, axes: Option<&[i64]>) -> Result<Self, String> {
        let axes = match axes {
            Some(axes) => self.axes(axes)?,
            None => (0..self.dims.len()).filter(|&axis| self.dims[axis].is_empty()).collect(),
        };
        if let Some(&axis) = axes.iter().find(|&&axis| !self.dims[axis].is_empty()) {
            return Err(format!("squeezes axis {axis} of {}, which is not of size 1", sizes_text(&self.sizes())));
        }
        let kept = self.dims.iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
        Ok(self.with(kept.map(|(_, dim)| dim.clone()).collect()))
    }

    /// With dimensions of size 1 at these places of the result.
    pub(super) fn unsqueezed(&self, axes: &[i64]) -> Result<Self, String> {
        let places = axes_of(axes, self.dims.len() + axes.len())?;
        let mut dims = self.dims.clone();
        for place in places {
            dims.insert(place, Vec::new());
        }
        Ok(self.with(dims))
    }

    /// As two dimensions: those before an axis, and the rest.
    pub(super) fn flattened(&self, axis: i64) -> Result<Self, String> {
        // The axis may stand behind the last one.
        let axis = axis_of(axis, self.dims.len() + usize::from(axis >= 0))?;
        let dims = [&self.dims[..axis], &self.dims[axis..]].map(|dims| merged(&dims.concat()));
        Ok(self.with(dims.to_vec()))
    }

    /// The same values in order with dimensions of other sizes.
    ///
    /// - `allow_zero`: whether a size of 0 is one, and not that of the same place before
    pub(super) fn reshaped(&self, target: &[Size], allow_zero: bool) -> Result<Self, String> {
        let refused = || {
            format!(
                "reshapes {} to {}; supported: sizes that keep samples apart and do not cut across dimensions",
                sizes_text(&self.sizes()),
                sizes_text(target)
            )
        };
        let (factors, sizes) = self.resolved(target, allow_zero).ok_or_else(refused)?;
        let mut left: std::collections::VecDeque<Factor> = factors.into();
        let mut dims = Vec::with_capacity(sizes.len());
        for size in sizes {
            let dim = match size {
                Size::Samples => {
                    left.pop_front().filter(|factor| *factor == Factor::Samples).ok_or_else(refused)?;
                    vec![Factor::Samples]
                }
                Size::Known(size) => self.taken(&mut left, size as usize).ok_or_else(refused)?,
            };
            dims.push(merged(&dim));
        }
        if left.is_empty() { Ok(self.with(dims)) } else { Err(refused()) }
    }

    /// Its factors in order, and sizes of dimensions that they are to make, none of which is left open.
    fn resolved(&self, target: &[Size], allow_zero: bool) -> Option<(Vec<Factor>, Vec<Size>)> {
        let own = self.sizes();
        let mut factors = self.dims.concat();
        let copied = |(place, &size): (usize, &Size)| match size {
            Size::Known(0) if !allow_zero => own.get(place).copied(),
            size => Some(size),
        };
        let mut sizes = target.iter().enumerate().map(copied).collect::<Option<Vec<Size>>>()?;
        let product = |sizes: &[Size]| {
            let known = |size: &Size| if let Size::Known(size) = size { *size } else { 1 };
            sizes.iter().map(known).filter(|size| *size != -1).try_fold(1_i64, i64::checked_mul)
        };
        if sizes.iter().any(|size| matches!(size, Size::Known(size) if *size < -1 || *size == 0)) {
            return None;
        }
        let (all, given) = (product(&own)?, product(&sizes)?);
        let open: Vec<usize> = (0..sizes.len()).filter(|&place| sizes[place] == Size::Known(-1)).collect();
        let [has, wants] = [&own, &sizes].map(|sizes| sizes.contains(&Size::Samples));
        if has && !wants {
            match open[..] {
                [place] if all == given => {
                    sizes[place] = Size::Samples;
                    return Some((factors, sizes));
                }
                // What is fixed to one sample is right for one.
                _ if sizes.first() == Some(&Size::Known(1)) => factors.retain(|factor| *factor != Factor::Samples),
                _ => return None,
            }
        }
        match open[..] {
            [] => {}
            [place] if all % given == 0 => sizes[place] = Size::Known(all / given),
            _ => return None,
        }
        Some((factors, sizes))
    }

    /// Takes factors that make a size, and splits the last one where it is larger.
    fn taken(&self, left: &mut std::collections::VecDeque<Factor>, size: usize) -> Option<Vec<Factor>> {
        let mut rest = size;
        let mut taken = Vec::new();
        while rest > 1 {
            match left.pop_front()? {
                Factor::Samples => {
                    let n = self.n_samples.filter(|&n| rest.is_multiple_of(n))?;
                    taken.push(Factor::Samples);
                    rest /= n;
                }
                Factor::Values { size, stride } if rest.is_multiple_of(size) => {
                    taken.push(Factor::Values { size, stride });
                    rest /= size;
                }
                Factor::Values { size, stride } if size.is_multiple_of(rest) => {
                    let inner = size / rest;
                    taken.push(Factor::Values { size: rest, stride: stride * inner });
                    left.push_front(Factor::Values { size: inner, stride });
                    rest = 1;
                }
                Factor::Values { .. } => return None,
            }
        }
        Some(taken)
    }

    /// Index along a dimension of the value at an offset, where the dimension tells it.
    pub(super) fn coordinate(dim: &[Factor], offset: usize) -> usize {
        let step = |index: usize, factor: &Factor| match factor {
            Factor::Samples => index,
            Factor::Values { size, stride } => index * size + offset / stride % size,
        };
        dim.iter().fold(0, step)
    }

    /// Offset of each value along a dimension.
    pub(super) fn offsets(dim: &[Factor]) -> Vec<usize> {
        let step = |offsets: Vec<usize>, factor: &Factor| match factor {
            Factor::Samples => offsets,
            Factor::Values { size, stride } => {
                offsets.iter().flat_map(|offset| (0..*size).map(move |at| offset + at * stride)).collect()
            }
        };
        dim.iter().fold(vec![0], step)
    }
}

/// The dimension of the samples.
pub(super) fn samples(n_samples: Option<usize>) -> Vec<Factor> {
    if n_samples == Some(1) { Vec::new() } else { vec![Factor::Samples] }
}

/// An axis counted from the front.
pub(super) fn axis_of(axis: i64, rank: usize) -> Result<usize, String> {
    let from_front = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    let place = usize::try_from(from_front).ok().filter(|&place| place < rank);
    place.ok_or_else(|| format!("axis {axis} is not one of {rank} dimensions"))
}

/// Axes counted from the front, in ascending order, each once.
pub(super) fn axes_of(axes: &[i64], rank: usize) -> Result<Vec<usize>, String> {
    let mut places = axes.iter().map(|&axis| axis_of(axis, rank)).collect::<Result<Vec<usize>, String>>()?;
    places.sort_unstable();
    if places.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(format!("axes {axes:?} name one twice"));
    }
    Ok(places)
}

pub(super) fn sizes_text(sizes: &[Size]) -> String {
    let text = |size: &Size| match size {
        Size::Samples => "N".to_owned(),
        Size::Known(size) => size.to_string(),
    };
    format!("[{}]", sizes.iter().map(text).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn known(sizes: &[i64]) -> Vec<Size> {
        sizes.iter().map(|&size| Size::Known(size)).collect()
    }

    #[test]
    fn a_shuffle_of_channels_is_two_factors_in_exchanged_order() {
        let image = View::standard(None, &[6, 2, 2]);
        let groups = image.reshaped(&known(&[-1, 2, 3, 2, 2]), false).unwrap();
        let shuffled = groups.transposed(Some(&[0, 2, 1, 3, 4])).unwrap();
        let back = shuffled.reshaped(&known(&[0, 6, 2, 2]), false);
        // A zero copies the size of its own place: the samples.
        let back = back.unwrap();
        assert_eq!(back.dims[1], [Factor::Values { size: 3, stride: 4 }, Factor::Values { size: 2, stride: 12 }]);
        assert_eq!(View::offsets(&back.dims[1]), [0, 12, 4, 16, 8, 20]);
    }

    #[test]
    fn samples_are_never_mixed_with_values() {
        let image = View::standard(None, &[4, 5]);
        assert_eq!(image.reshaped(&known(&[-1, 20]), false).unwrap().dims[0], [Factor::Samples]);
        assert_eq!(image.reshaped(&[Size::Samples, Size::Known(-1)], false).unwrap().dims.len(), 2);
        assert!(image.reshaped(&known(&[-1, 10]), false).unwrap_err().contains("reshapes [N, 4, 5] to [-1, 10]"));
        // One sample alone may be said.
        assert_eq!(image.reshaped(&known(&[1, -1]), false).unwrap().dims, [vec![], dim(20, 1)]);
        let three = View::standard(Some(3), &[4]);
        assert_eq!(three.reshaped(&known(&[3, 2, 2]), false).unwrap().dims[0], [Factor::Samples]);
        assert!(three.reshaped(&known(&[5, -1]), false).is_err());
        assert!(image.reshaped(&known(&[-1, -1]), false).is_err());
        assert!(image.reshaped(&[Size::Samples, Size::Known(3), Size::Known(-1)], false).is_err());
    }

    proptest! {
        /// What a view says of a reshaped and transposed tensor is what copying its values does.
        #[test]
        fn offsets_are_those_of_values_that_are_copied(
            sizes in proptest::collection::vec(1_usize..5, 1..5),
            turn in 0_usize..24,
        ) {
            let n: usize = sizes.iter().product();
            let view = View::standard(Some(1), &sizes);
            let rank = sizes.len();
            let order: Vec<i64> = std::iter::once(0).chain((0..rank).map(|at| ((at + turn) % rank) as i64 + 1)).collect();
            let turned = view.transposed(Some(&order)).unwrap();
            let flat = turned.flattened(1).unwrap();
            let found = View::offsets(&flat.dims[1]);
            let permuted: Vec<usize> = order[1..].iter().map(|&axis| sizes[axis as usize - 1]).collect();
            let mut expected = vec![0; n];
            for (offset, _) in (0..n).enumerate() {
                let mut rest = offset;
                let mut at = vec![0; rank];
                for axis in (0..rank).rev() {
                    at[axis] = rest % sizes[axis];
                    rest /= sizes[axis];
                }
                let place = order[1..].iter().zip(&permuted).fold(0, |place, (&axis, size)| place * size + at[axis as usize - 1]);
                expected[place] = offset;
            }
            prop_assert_eq!(&found, &expected);
            for (index, offset) in found.iter().enumerate() {
                prop_assert_eq!(View::coordinate(&flat.dims[1], *offset), index);
            }
            prop_assert_eq!(turned.reshaped(&known(&[1, n as i64]), true).unwrap(), flat);
        }
    }
}
