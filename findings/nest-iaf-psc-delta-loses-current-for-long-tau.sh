#!/usr/bin/env bash
# NEST 3.10.0's iaf_psc_delta integrates a constant current wrong, and at last not at all, where tau_m is long; synapses keep working.
#
# A neuron without a leak is had by a tau_m that is long beside the simulation, and it seems that longer is better: NEST takes any tau_m
# above 0. It multiplies the current by tau_m / C_m · (1 − exp(−h / tau_m)), where the difference in brackets, rounded in float64, is off
# by 11 % for 1e16 ms and 0 for 1e17 ms; from there on I_e does nothing, without a word, while spikes still arrive with their full
# weights. With tau_m = inf, which NEST takes too, every potential is NaN and the neuron
# silent. About 1e9 is safe.
#
# Seen on 2026-12-01, Linux x86-64. 100 steps of 1 ms, C_m = 1 pF; I_e = 0.25 pA, so 25 mV expected; or a synapse of 0.25 mV, 100 spikes:
#
#   tau_m 1000 I_e 23.7906 spikes 23.8025
#   tau_m 1e+09 I_e 25.0000 spikes 25.0000
#   tau_m 1e+16 I_e 27.7556 spikes 25.0000
#   tau_m 1e+17 I_e 0.0000 spikes 25.0000
#   tau_m inf I_e nan spikes nan
#   lines with WARNING or ERROR: 0
#
# usage: findings/nest-iaf-psc-delta-loses-current-for-long-tau.sh      needs Python 3.11 with venv; exits with 0 while this is so
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

python3 -m venv venv
venv/bin/pip install --quiet nest-simulator==3.10.0 numpy==2.4.6
cat >probe.py <<'PYTHON'
import nest

N_STEPS = 100
DELAY = 1.0


def potential(tau_m, source):
    """In mV, after 100 steps of the current, or once all spikes have arrived."""
    nest.ResetKernel()
    nest.resolution = 1.0
    neuron = nest.Create("iaf_psc_delta", params={"tau_m": tau_m, "C_m": 1.0, "E_L": 0.0, "V_m": 0.0, "V_reset": 0.0, "V_th": 1e6})
    if source == "I_e":
        neuron.I_e = 0.25
        nest.Simulate(N_STEPS)
    else:
        spikes = nest.Create("spike_generator", params={"spike_times": [1.0 + step for step in range(N_STEPS)]})
        nest.Connect(spikes, neuron, syn_spec={"weight": 0.25, "delay": DELAY})
        nest.Simulate(N_STEPS + DELAY)
    return neuron.V_m


print("nest", nest.__version__)
for tau_m in (1e3, 1e9, 1e16, 1e17, float("inf")):
    print(f"tau_m {tau_m:g} I_e {potential(tau_m, 'I_e'):.4f} spikes {potential(tau_m, 'spikes'):.4f}")
PYTHON
venv/bin/python probe.py >all 2>&1
# Without NEST's banner and its notes on each simulation.
grep -E '^(nest|tau_m) ' all | tee found
echo "lines with WARNING or ERROR: $(grep -c -E 'WARNING|ERROR' all || true)" | tee -a found

expect() { grep -Fqx "$1" found || { echo "no longer so: expected $1" >&2; exit 1; }; }
expect "tau_m 1e+09 I_e 25.0000 spikes 25.0000"
expect "tau_m 1e+16 I_e 27.7556 spikes 25.0000"
expect "tau_m 1e+17 I_e 0.0000 spikes 25.0000"
expect "tau_m inf I_e nan spikes nan"
expect "lines with WARNING or ERROR: 0"
