//! The reference engine against the definition of its parts, as PyTorch documents its layers: zeros are put around an image, windows
//! are cut out of it, and nothing is spread from inputs to outputs.

use model::config::{Encoding, NeuronConfig, Readout, Reset};
use model::population::{Pool, PoolKind};
use snn::{Connection, Engine as _, Kernel, ReferenceEngine, RunSettings, SampleTrace, SpikingLayer, SpikingNetwork};
use specimens::{Conv, any_conv, conv_network, images, samples, uneven_convs};

const STEPS: usize = 9;

/// An image `[C, H, W]`.
#[derive(Debug, Clone)]
struct Image {
    shape: [usize; 3],
    values: Vec<f64>,
}

impl Image {
    /// A value; `None` beyond the border.
    fn at(&self, channel: usize, y: isize, x: isize) -> Option<f64> {
        let [_, height, width] = self.shape;
        let (y, x) = (usize::try_from(y).ok()?, usize::try_from(x).ok()?);
        (y < height && x < width).then(|| self.values[(channel * height + y) * width + x])
    }
}

fn places([channels, rows, columns]: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    (0..channels * rows * columns).map(move |i| [i / (rows * columns), i / columns % rows, i % columns])
}

/// First row or column of a window, and the one behind its last.
fn span(pool: &Pool, dimension: usize, window: usize) -> [isize; 2] {
    let first = (window * pool.stride[dimension]) as isize - pool.padding[dimension] as isize;
    [first, first + pool.kernel[dimension] as isize]
}

/// `torch.nn.AvgPool2d` and `MaxPool2d`: size of the output with `ceil_mode`, as their documentation has it.
fn n_windows(pool: &Pool, dimension: usize, n: usize) -> usize {
    let [before, after] = [pool.padding[dimension], pool.padding[2 + dimension]];
    let room = n + before + after - pool.kernel[dimension];
    let stride = pool.stride[dimension];
    if !pool.ceil {
        return room / stride + 1;
    }
    let n_windows = room.div_ceil(stride) + 1;
    // Windows may go off the image if they start within the padding before it or the image.
    if (n_windows - 1) * stride >= n + before { n_windows - 1 } else { n_windows }
}

/// The largest value of each window, or its mean times a number that makes it whole.
fn pooled(image: &Image, pool: &Pool, multiplicity: usize) -> Image {
    let [channels, height, width] = image.shape;
    let shape = [channels, n_windows(pool, 0, height), n_windows(pool, 1, width)];
    let value = |[channel, row, column]: [usize; 3]| {
        let (rows, columns) = (span(pool, 0, row), span(pool, 1, column));
        let inside =
            (rows[0]..rows[1]).flat_map(|y| (columns[0]..columns[1]).filter_map(move |x| image.at(channel, y, x)));
        if pool.kind == PoolKind::Max {
            return inside.fold(f64::MIN, f64::max);
        }
        // What counts of a window: what lies in the image, or in the image and its padding, but nothing behind that.
        let counted = |[first, end]: [isize; 2], dimension: usize, n: usize| {
            let padding =
                [pool.padding[dimension], pool.padding[2 + dimension]].map(|p| if pool.counts_padding { p } else { 0 });
            end.min((n + padding[1]) as isize) - first.max(-(padding[0] as isize))
        };
        let count = counted(rows, 0, height) * counted(columns, 1, width);
        assert!(count > 0 && multiplicity.is_multiple_of(count as usize), "{count} of {multiplicity} inputs: {pool:?}");
        inside.sum::<f64>() * (multiplicity / count as usize) as f64
    };
    Image { shape, values: places(shape).map(value).collect() }
}

/// `torch.nn.Conv2d`.
fn convolved(image: &Image, kernel: &Kernel, weights: &[f32]) -> Image {
    let Kernel { input, channels, size, stride, padding, dilation, groups } = *kernel;
    let image = Image { shape: input, values: image.values.clone() };
    let n_out =
        |d: usize| (input[1 + d] + padding[d] + padding[2 + d] - dilation[d] * (size[d] - 1) - 1) / stride[d] + 1;
    let shape = [channels, n_out(0), n_out(1)];
    let (per_group, out_per_group) = (input[0] / groups, channels / groups);
    let value = |[out, row, column]: [usize; 3]| {
        let terms = places([per_group, size[0], size[1]]).enumerate().filter_map(|(at, [c, ky, kx])| {
            let y = (row * stride[0] + ky * dilation[0]) as isize - padding[0] as isize;
            let x = (column * stride[1] + kx * dilation[1]) as isize - padding[1] as isize;
            let weight = f64::from(weights[out * per_group * size[0] * size[1] + at]);
            Some(image.at(out / out_per_group * per_group + c, y, x)? * weight)
        });
        terms.sum()
    };
    Image { shape, values: places(shape).map(value).collect() }
}

/// What a connection brings of a source's values, and of all that its neurons have sent so far if there is a max pool.
fn current(connection: &Connection<f32>, now: &Image, so_far: &Image) -> Image {
    let Connection { wiring, weights } = connection;
    let arriving = match wiring.pools[..] {
        [] => now.clone(),
        [ref pool] if pool.kind == PoolKind::Mean => pooled(now, pool, wiring.multiplicity()),
        [ref pool] => {
            let earlier = so_far.values.iter().zip(&now.values).map(|(all, now)| all - now).collect();
            let [after, earlier] = [so_far, &Image { shape: now.shape, values: earlier }].map(|x| pooled(x, pool, 1));
            let values = after.values.iter().zip(&earlier.values).map(|(after, before)| after - before).collect();
            Image { shape: after.shape, values }
        }
        _ => unreachable!("one pool at most"),
    };
    convolved(&arriving, &wiring.kernel, weights)
}

/// Spikes of each layer at each step, and the potentials of the last.
fn run(network: &SpikingNetwork, trace: &SampleTrace, settings: &RunSettings) -> (Vec<Vec<Vec<f64>>>, Vec<f64>) {
    let layers = network.layers();
    let start = |layer: &SpikingLayer| -> Vec<f64> {
        layer.for_neurons(layer.initial_potentials()).into_iter().map(f64::from).collect()
    };
    let mut potentials: Vec<Vec<f64>> = layers.iter().map(start).collect();
    let silent = |shape: [usize; 3]| Image { shape, values: vec![0.0; shape.iter().product()] };
    let shapes = std::iter::once(network.input()).chain(layers.iter().map(SpikingLayer::shape));
    let mut so_far: Vec<Image> = shapes.map(silent).collect();
    let (mut spikes, mut readout) = (vec![Vec::new(); layers.len()], Vec::new());
    for step in 0..settings.n_steps {
        let input = (0..network.n_in()).map(|neuron| f64::from(u8::from(trace.spikes[0].get(step, neuron)))).collect();
        let mut now = vec![Image { shape: network.input(), values: input }];
        for (idx, layer) in layers.iter().enumerate() {
            so_far[idx].values.iter_mut().zip(&now[idx].values).for_each(|(sum, value)| *sum += value);
            for connection in layer.connections() {
                let source = connection.wiring.source.index();
                let arriving = current(connection, &now[source], &so_far[source]);
                assert_eq!(arriving.shape, layer.shape());
                potentials[idx].iter_mut().zip(&arriving.values).for_each(|(u, current)| *u += current);
            }
            let fires = idx + 1 < layers.len();
            let mut fired = Vec::with_capacity(layer.n_out());
            for (neuron, u) in potentials[idx].iter_mut().enumerate() {
                *u += f64::from(layer.biases().at(neuron, layer.n_positions()));
                let spike = fires && *u >= 1.0;
                *u -= f64::from(u8::from(spike));
                fired.push(f64::from(u8::from(spike)));
            }
            spikes[idx].push(fired.clone());
            now.push(Image { shape: layer.shape(), values: fired });
        }
        readout.extend(potentials.last().expect("a network has layers"));
    }
    (spikes, readout)
}

fn compare(input: [usize; 2], conv: Conv, seed: u64) {
    let network = conv_network(input, conv, seed, STEPS);
    let images = images(1, network.n_in(), seed);
    let (encoding, reset, readout) = (Encoding::Poisson, Reset::Subtract, Readout::Potential);
    let settings = RunSettings { encoding, neuron: NeuronConfig::default(), reset, readout, n_steps: STEPS, seed };
    let trace = ReferenceEngine::new(&network).run(&samples(&images), &settings).unwrap().remove(0);
    let (spikes, potentials) = run(&network, &trace, &settings);
    for (train, expected) in trace.spikes[1..].iter().zip(&spikes) {
        let found = (0..STEPS).map(|step| (0..train.n_neurons()).map(move |neuron| train.get(step, neuron)));
        let found: Vec<Vec<f64>> = found.map(|step| step.map(|spike| f64::from(u8::from(spike))).collect()).collect();
        assert!(found == *expected, "{conv:?} on {input:?}");
    }
    let found: Vec<f64> = trace.readout.iter().map(|&potential| f64::from(potential)).collect();
    assert_eq!(found, potentials, "{conv:?} on {input:?}");
}

#[test]
fn the_reference_engine_does_what_layers_of_any_geometry_are_defined_to_do() {
    for conv in uneven_convs() {
        compare([8, 9], conv, 4);
    }
    for seed in 0..300 {
        let (input, conv) = any_conv(seed);
        compare(input, conv, seed);
    }
}
