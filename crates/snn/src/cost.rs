//! Synaptic operations: what spikes cost.

use crate::engine::SampleTrace;
use crate::network::{SpikingLayer, SpikingNetwork};
use crate::pool::{Pooling, max_pool};

/// Counts the operations that a network's spikes cause.
///
/// A spike costs one addition per neuron that it reaches, counted at the borders as many as there are; behind a max pool
/// only a spike that passes reaches any, and each spike into the pool costs one comparison per window.
#[derive(Debug, Clone)]
pub struct SynapticOperations {
    connections: Vec<ConnectionCost>,
    n_sources: usize,
}

#[derive(Debug, Clone)]
struct ConnectionCost {
    source: usize,
    pooling: Pooling,
    /// Additions that a spike causes, per position behind the max pools: all channels have the same fan-out.
    additions: Vec<u32>,
    n_channels: usize,
}

impl SynapticOperations {
    /// Counts fan-outs once, for all samples.
    pub fn new(network: &SpikingNetwork) -> Self {
        let connections = network.layers().iter().flat_map(SpikingLayer::connections).map(|connection| {
            let (wiring, pooling) = (&connection.wiring, Pooling::new(&connection.wiring));
            // The first channel's inputs lie before the others'.
            let [n_channels, height, width] = wiring.max_pooled_shape();
            let additions = (0..height * width).map(|position| {
                let mut n = 0;
                pooling.for_each_input(position, |input| n += wiring.kernel.fan_out(input) as u32);
                n
            });
            ConnectionCost { source: wiring.source, additions: additions.collect(), n_channels, pooling }
        });
        Self { connections: connections.collect(), n_sources: network.layers().len() + 1 }
    }

    /// Operations at each step, `[T]`, that the spikes of each source cause: the input first, then the layers in order.
    pub fn of(&self, trace: &SampleTrace) -> Vec<Vec<u64>> {
        let mut operations = vec![vec![0; trace.n_steps()]; self.n_sources];
        for ConnectionCost { source, pooling, additions, .. } in &self.connections {
            let mut train = &trace.spikes[*source];
            let mut passed;
            for windows in &pooling.max {
                for (step, operations) in operations[*source].iter_mut().enumerate() {
                    *operations += train.neurons(step).map(|input| windows.of(input).len() as u64).sum::<u64>();
                }
                passed = max_pool(windows, train);
                train = &passed;
            }
            for (step, operations) in operations[*source].iter_mut().enumerate() {
                let counts = train.counts_of_positions(step).zip(additions);
                *operations += counts.map(|(count, &n)| u64::from(count) * u64::from(n)).sum::<u64>();
            }
        }
        operations
    }

    /// Multiplications and additions of a constant input, once per sample.
    pub fn of_constant_input(&self) -> u64 {
        let first = self.connections.iter().filter(|connection| connection.source == 0);
        let of_channel = |connection: &ConnectionCost| connection.additions.iter().map(|&n| u64::from(n)).sum::<u64>();
        first.map(|connection| of_channel(connection) * connection.n_channels as u64).sum()
    }
}
