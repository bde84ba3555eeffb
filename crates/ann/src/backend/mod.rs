//! The burn backends by name, and the devices behind them.
//!
//! The only module that names a concrete burn backend, and its only place for code of one backend alone. Which ones are compiled in is decided by the cargo
//! features of the same names; which one runs is decided at run time by the key `backend`.

use burn::nn::conv::Conv2d;
use burn::nn::pool::AvgPool2d;
use burn::nn::{BatchNorm, PaddingConfig2d};
use burn::tensor::{Device, Tensor};
use model::Backend;
use thiserror::Error;

#[cfg(feature = "wgpu")]
mod cube_kernels;
#[cfg(feature = "flex")]
mod flex_kernels;
mod spiking;

pub use spiking::{Advanced, SpikingKernels, spiking_kernels};

/// A backend cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BackendError {
    /// The backend exists but this program was built without it.
    #[error(
        "backend: `{backend}` is not built in (built in: {}); rebuild with `--features {backend}`, for example \
         `cargo run --release -p reproduce --features {backend} -- CONFIG`",
        Backend::list(&built_in())
    )]
    NotBuiltIn {
        /// What was asked for.
        backend: Backend,
    },
    /// The backend is built in but the machine has nothing that it runs on.
    #[error(
        "backend: found no GPU for `{backend}`, nor a software Vulkan driver (`scripts/setup wgpu` installs one); use \
         `--backend flex`"
    )]
    NoDevice {
        /// What was asked for.
        backend: Backend,
    },
}

/// Whether this program was compiled with the backend.
pub const fn is_built_in(backend: Backend) -> bool {
    match backend {
        Backend::Flex => cfg!(feature = "flex"),
        Backend::Ndarray => cfg!(feature = "ndarray"),
        Backend::Wgpu => cfg!(feature = "wgpu"),
    }
}

/// The backends this program was compiled with.
pub fn built_in() -> Vec<Backend> {
    Backend::ALL.into_iter().filter(|backend| is_built_in(*backend)).collect()
}

/// The backends this program was compiled with that have a device on this machine.
pub fn usable() -> Vec<Backend> {
    built_in().into_iter().filter(|backend| device(*backend).is_ok()).collect()
}

/// The backend that a device is of.
pub fn of(of: &Device) -> Backend {
    let of = of.clone().inner();
    let mut on_the_cpu = [Backend::Flex, Backend::Ndarray].into_iter();
    on_the_cpu.find(|backend| device(*backend).as_ref() == Ok(&of)).unwrap_or(Backend::Wgpu)
}

/// A backend's default device.
///
/// # Errors
/// [`BackendError::NotBuiltIn`] if the program was compiled without the backend's cargo feature;
/// [`BackendError::NoDevice`] if the machine has no device for it.
pub fn device(backend: Backend) -> Result<Device, BackendError> {
    match backend {
        #[cfg(feature = "flex")]
        Backend::Flex => Ok(Device::flex()),
        #[cfg(feature = "ndarray")]
        // Deprecated by burn in favour of flex, but there to compare with.
        Backend::Ndarray =>
        {
            #[allow(deprecated)]
            Ok(Device::ndarray())
        }
        #[cfg(feature = "wgpu")]
        Backend::Wgpu if has_gpu() => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
        #[cfg(feature = "wgpu")]
        Backend::Wgpu => Err(BackendError::NoDevice { backend }),
        #[allow(unreachable_patterns)]
        backend => Err(BackendError::NotBuiltIn { backend }),
    }
}

/// Whether there is a GPU, or a software Vulkan driver, which burn counts as one.
#[cfg(feature = "wgpu")]
fn has_gpu() -> bool {
    // Drivers are loaded to find out.
    static FOUND: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *FOUND.get_or_init(|| !Device::enumerate(burn::tensor::DeviceType::Wgpu).is_empty())
}

/// A convolution by the fastest means that its backend has.
///
/// - `x`: `[N, C_in, H, W]`
/// - returns `[N, C_out, H', W']`
pub(crate) fn conv2d(conv: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if let (Some(padding), 1, true) = (square_padding(conv), conv.groups, is_flex(&x)) {
        let y = flex_kernels::conv2d(x, conv.weight.val(), conv.stride[0], padding);
        return match &conv.bias {
            Some(bias) => y + bias.val().reshape([1, -1, 1, 1]),
            None => y,
        };
    }
    conv.forward(x)
}

/// The padding of a convolution whose geometry is the same in both dimensions and on all sides.
#[cfg(feature = "flex")]
fn square_padding(conv: &Conv2d) -> Option<usize> {
    let PaddingConfig2d::Explicit(top, left, bottom, right) = conv.padding else { return None };
    let is_square = [left, bottom, right] == [top; 3]
        && [conv.kernel_size, conv.stride, conv.dilation].iter().all(|sizes| sizes[0] == sizes[1])
        && conv.dilation == [1; 2];
    is_square.then_some(top)
}

/// A batch norm by the fastest means that its backend has; in training it takes the batch's statistics and updates the
/// running ones, as [`BatchNorm::forward`] does.
///
/// - `x`: `[N, C, H, W]`
pub(crate) fn batch_norm(norm: &BatchNorm, x: Tensor<4>) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if is_flex(&x) && x.device().is_autodiff() {
        let statistics = flex_kernels::channel_statistics(x.clone());
        let row = |idx: usize| statistics.clone().narrow(0, idx, 1).squeeze_dim::<1>(0);
        let (mean, variance) = (row(0), row(1));
        let device = x.device();
        for (running, now) in [(&norm.running_mean, mean.clone()), (&norm.running_var, variance.clone())] {
            let before = running.value_sync().without_autodiff();
            let after = before * (1.0 - norm.momentum) + now * norm.momentum;
            running.update(after.to_device(&device));
        }
        let statistics = Tensor::stack(vec![mean, variance + norm.epsilon], 0);
        return flex_kernels::batch_norm(x, norm.gamma.val(), norm.beta.val(), statistics);
    }
    #[cfg(feature = "flex")]
    if is_flex(&x) {
        let [mean, variance] =
            [&norm.running_mean, &norm.running_var].map(|running| running.value().to_device(&x.device()));
        let deviation = (variance + norm.epsilon).sqrt();
        let of_channels = Tensor::stack(vec![mean, deviation, norm.gamma.val(), norm.beta.val()], 0);
        return flex_kernels::batch_norm_inference(x, of_channels);
    }
    norm.forward(x)
}

/// An average pool by the fastest means that its backend has.
///
/// - `x`: `[N, C, H, W]`
pub(crate) fn avg_pool2d(pool: &AvgPool2d, x: Tensor<4>) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if pool.kernel_size == pool.stride
        && pool.kernel_size[0] == pool.kernel_size[1]
        && pool.padding == PaddingConfig2d::Explicit(0, 0, 0, 0)
        && !pool.ceil_mode
        && is_flex(&x)
    {
        return flex_kernels::avg_pool2d(x, pool.kernel_size[0]);
    }
    pool.forward(x)
}

#[cfg(feature = "flex")]
fn is_flex(x: &Tensor<4>) -> bool {
    x.device().inner() == Device::flex()
}

#[cfg(test)]
mod tests {
    use burn::module::Module as _;
    use burn::nn::BatchNormConfig;
    use burn::tensor::TensorData;

    use super::*;
    use crate::network::values;

    #[test]
    fn every_backend_is_found_by_its_own_name() {
        for backend in Backend::ALL {
            assert_eq!(backend.name().parse(), Ok(backend));
        }
    }

    #[test]
    fn a_device_is_of_the_backend_that_gave_it() {
        for backend in usable() {
            let device = super::device(backend).unwrap();
            assert_eq!([super::of(&device), super::of(&device.autodiff())], [backend; 2]);
        }
    }

    #[test]
    fn a_machine_without_a_gpu_is_told_what_to_do() {
        let error = BackendError::NoDevice { backend: Backend::Wgpu }.to_string();
        assert!(error.contains("`wgpu`") && error.contains("scripts/setup wgpu"), "{error}");
        assert!(error.contains("--backend flex"), "{error}");
    }

    #[test]
    fn a_backend_that_is_not_built_in_says_how_to_build_it() {
        for backend in Backend::ALL {
            match super::device(backend) {
                Ok(_) | Err(BackendError::NoDevice { .. }) => assert!(is_built_in(backend)),
                Err(error) => {
                    assert!(!is_built_in(backend));
                    assert!(error.to_string().contains(&format!("--features {backend}")), "{error}");
                }
            }
        }
    }

    #[test]
    fn batch_norm_keeps_the_running_statistics_that_burn_keeps_and_uses_them_without_gradients() {
        for backend in usable() {
            let device = super::device(backend).unwrap();
            let config = BatchNormConfig::new(3);
            let (own, burn_s) = (config.init(&device.clone().autodiff()), config.init(&device.clone().autodiff()));
            let batch = |k: f32, device: &Device| {
                let values: Vec<f32> = (0..2 * 3 * 4).map(|i| (i as f32 * k).sin() * 2.0 + k).collect();
                Tensor::<4>::from_data(TensorData::new(values, [2, 3, 2, 2]), device)
            };
            // A few roundings of f32 on numbers below 10.
            let close = |a: Vec<f32>, b: Vec<f32>| a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-5);
            for k in [0.7, 1.9, 3.1] {
                let x = batch(k, &device.clone().autodiff());
                assert!(
                    close(values(batch_norm(&own, x.clone()).inner()), values(burn_s.forward(x).inner())),
                    "{backend}"
                );
            }
            let (own, burn_s) = (own.valid(), burn_s.valid());
            for (a, b) in [(&own.running_mean, &burn_s.running_mean), (&own.running_var, &burn_s.running_var)] {
                assert!(close(values(a.value_sync()), values(b.value_sync())), "{backend}");
            }
            assert!(values(own.running_mean.value_sync()).iter().all(|mean| mean.abs() > 0.1), "it must have moved");
            let x = batch(1.3, &device);
            // With running statistics the operations are burn's own.
            assert_eq!(values(batch_norm(&own, x.clone())), values(own.forward(x.clone())), "{backend}");
            assert!(close(values(batch_norm(&own, x.clone())), values(burn_s.forward(x))), "{backend}");
        }
    }

    #[test]
    fn an_unknown_backend_is_refused_with_the_known_names() {
        let error = "cuda".parse::<Backend>().unwrap_err().to_string();
        assert!(error.contains("`cuda`") && error.contains("`flex`, `ndarray`, `wgpu`"), "{error}");
    }
}
