#!/usr/bin/env bash
# Nengo 4.1.0's SpikingRectifiedLinear forgets inhibition: where excitation and inhibition take turns, it fires as if for excitation alone.
#
# It is Nengo's integrate-and-fire neuron, the spiking twin of a ReLU. It rectifies the current of each step rather than the rate: a
# negative step adds 0 and takes nothing back of what is stored. A mean current of 0 that jitters, as every current made of spikes does,
# gives spikes; so do two presynaptic neurons of the same rate and opposite weights, if they fire in turn. RectifiedLinear, whose rates it
# is to have, is silent for the mean, and Nengo's LIF without much of a leak (tau_rc = 1 s) for the same steps.
#
# Seen on 2026-12-01, Linux x86-64. 100 steps of 1 ms; an input of 1 makes one spike a step; potentials start at 0:
#
#   0.25 at each step      SpikingRectifiedLinear 25 LIF 20 RectifiedLinear of the mean 25
#   0.5 and -0.5 in turn   SpikingRectifiedLinear 25 LIF 0 RectifiedLinear of the mean 0
#   -0.5 and 0.5 in turn   SpikingRectifiedLinear 25 LIF 0 RectifiedLinear of the mean 0
#   0.75 and -0.75 in turn SpikingRectifiedLinear 37 LIF 0 RectifiedLinear of the mean 0
#   two neurons in turn    SpikingRectifiedLinear 25 LIF 0 RectifiedLinear of the mean 0
#
# usage: findings/nengo-spiking-rectified-linear-forgets-inhibition.sh      needs Python 3.11 with venv; exits with 0 while this is so
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

python3 -m venv venv
venv/bin/pip install --quiet nengo==4.1.0 numpy==2.4.6
# The warnings left out are of SciPy, which is not needed, and of a division while limits are looked up that are not used.
venv/bin/python -W ignore - <<'PYTHON' | tee found
import nengo
import numpy as np

DT = 0.001
N_STEPS = 100


def at_zero():
    return {"voltage": nengo.dists.Choice([0.0])}


def neurons(n, neuron_type):
    return nengo.Ensemble(n, 1, neuron_type=neuron_type, gain=np.ones(n), bias=np.zeros(n), encoders=np.ones((n, 1))).neurons


def spikes(make_source, weights, neuron_type):
    """Spikes of one neuron; weights are in spikes a step for an input of 1."""
    with nengo.Network(seed=0) as network:
        cell = neurons(1, neuron_type)
        nengo.Connection(make_source(), cell, transform=np.array([weights]) / DT, synapse=None)
        probe = nengo.Probe(cell)
    with nengo.Simulator(network, dt=DT, progress_bar=False) as simulator:
        simulator.run_steps(N_STEPS)
    return round(float(simulator.data[probe].sum()) * DT)


def given(values):
    return lambda: nengo.Node(lambda t: values[(round(t / DT) - 1) % len(values)])


def two_in_turn():
    """Two neurons of 500 Hz, the second a step later than the first; a spike counts 1."""
    sources = neurons(2, nengo.SpikingRectifiedLinear(amplitude=DT, initial_state={"voltage": np.array([0.5, 0.0])}))
    nengo.Connection(nengo.Node([0.5 / DT, 0.5 / DT]), sources, synapse=None)
    return sources


print("nengo", nengo.__version__)
for name, source, weights, mean in (
    ("0.25 at each step", given([0.25]), [1], 0.25),
    ("0.5 and -0.5 in turn", given([0.5, -0.5]), [1], 0),
    ("-0.5 and 0.5 in turn", given([-0.5, 0.5]), [1], 0),
    ("0.75 and -0.75 in turn", given([0.75, -0.75]), [1], 0),
    ("two neurons in turn", two_in_turn, [0.5, -0.5], 0),
):
    rectified = spikes(source, weights, nengo.SpikingRectifiedLinear(initial_state=at_zero()))
    leaky = spikes(source, weights, nengo.LIF(tau_rc=1, tau_ref=0, initial_state=at_zero()))
    rate = spikes(given([mean]), [1], nengo.RectifiedLinear())
    print(f"{name:22} SpikingRectifiedLinear {rectified} LIF {leaky} RectifiedLinear of the mean {rate}")
PYTHON

expect() { grep -Fqx -- "$1" found || { echo "no longer so: expected $1" >&2; exit 1; }; }
expect "0.25 at each step      SpikingRectifiedLinear 25 LIF 20 RectifiedLinear of the mean 25"
expect "0.5 and -0.5 in turn   SpikingRectifiedLinear 25 LIF 0 RectifiedLinear of the mean 0"
expect "-0.5 and 0.5 in turn   SpikingRectifiedLinear 25 LIF 0 RectifiedLinear of the mean 0"
expect "two neurons in turn    SpikingRectifiedLinear 25 LIF 0 RectifiedLinear of the mean 0"
