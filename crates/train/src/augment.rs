//! Random changes to training images: crops, mirror images, and the noise of Poisson spikes.

use model::config::Augment;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Changes one image in place.
///
/// - `image`: `[C, H, W]`, row-major
/// - `epoch_seed`, `sample`: the key of its random numbers, so that batches, threads and resumed runs do not matter
///
/// A window of the image's size is cut out of the image with `crop_padding` zeros around it, at a uniformly random
/// place; then, with probability ½, it is mirrored left to right. Last, each pixel x becomes the mean of `poisson_steps`
/// independent spikes of probability x: what a network that is run on Poisson input for so many steps sees of it.
pub fn augment(image: &mut Vec<f32>, shape: [usize; 3], config: Augment, epoch_seed: u64, sample: usize) {
    if config == Augment::default() {
        return;
    }
    let mut random = ChaCha8Rng::seed_from_u64(epoch_seed);
    random.set_stream(sample as u64);
    let [_, height, width] = shape;
    let padding = config.crop_padding as i64;
    let [down, right] = [(); 2].map(|()| random.random_range(-padding..=padding));
    let mirrored = config.flip && random.random::<bool>();
    let at = |n: usize, position: usize, shift: i64| {
        usize::try_from(position as i64 + shift).ok().filter(|position| *position < n)
    };
    let mut changed = Vec::with_capacity(image.len());
    for channel in image.chunks_exact(height * width) {
        for y in 0..height {
            for x in 0..width {
                let x = if mirrored { width - 1 - x } else { x };
                let source = at(height, y, down).zip(at(width, x, right));
                changed.push(source.map_or(0.0, |(y, x)| channel[y * width + x]));
            }
        }
    }
    if config.poisson_steps > 0 {
        for pixel in &mut changed {
            // Spikes of probability 0 or 1 are certain.
            if *pixel > 0.0 && *pixel < 1.0 {
                let n_spikes = (0..config.poisson_steps).filter(|_| random.random::<f32>() < *pixel).count();
                *pixel = n_spikes as f32 / config.poisson_steps as f32;
            }
        }
    }
    *image = changed;
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: [usize; 3] = [2, 3, 4];

    fn image() -> Vec<f32> {
        (1..=24).map(|value| value as f32).collect()
    }

    fn augmented(config: Augment, seed: u64, sample: usize) -> Vec<f32> {
        let mut image = image();
        augment(&mut image, SHAPE, config, seed, sample);
        image
    }

    #[test]
    fn half_of_the_images_are_mirrored_and_nothing_else_is_done_to_them() {
        let mirrored: Vec<f32> = image().chunks_exact(4).flat_map(|row| row.iter().rev().copied()).collect();
        let config = Augment { flip: true, ..Augment::default() };
        let n_mirrored = (0..400)
            .filter(|&sample| {
                let found = augmented(config, 5, sample);
                assert!(found == mirrored || found == image());
                found == mirrored
            })
            .count();
        // 400 fair coin tosses: a standard deviation of 10, five of them.
        assert!(n_mirrored.abs_diff(200) < 50, "{n_mirrored}");
    }

    #[test]
    fn crops_are_windows_of_the_padded_image_each_place_as_often_as_another() {
        let config = Augment { crop_padding: 1, ..Augment::default() };
        let mut counts = [0; 9];
        for sample in 0..1800 {
            let found = augmented(config, 1, sample);
            let window = |down: isize, right: isize| -> Vec<f32> {
                let at = |c: isize, y: isize, x: isize| {
                    let inside = (0..3).contains(&y) && (0..4).contains(&x);
                    if inside { (c * 12 + y * 4 + x + 1) as f32 } else { 0.0 }
                };
                (0..24).map(|i| at(i / 12, i / 4 % 3 + down, i % 4 + right)).collect()
            };
            let place = (0..9).find(|place| window(place / 3 - 1, place % 3 - 1) == found).expect("a window");
            counts[place as usize] += 1;
        }
        // 200 expected at each place: a standard deviation of 13, five of them.
        assert!(counts.iter().all(|count: &i32| (count - 200).abs() < 67), "{counts:?}");
    }

    #[test]
    fn poisson_noise_has_the_mean_and_variance_of_spikes_and_leaves_black_and_white() {
        let config = Augment { poisson_steps: 8, ..Augment::default() };
        let (mut sum, mut squares, n) = (0.0, 0.0, 2000_usize);
        for sample in 0..n {
            let mut image = vec![0.0, 1.0, 0.25];
            augment(&mut image, [1, 1, 3], config, 2, sample);
            assert_eq!(image[..2], [0.0, 1.0]);
            let value = f64::from(image[2]);
            assert_eq!(value * 8.0, (value * 8.0).round());
            (sum, squares) = (sum + value, squares + value * value);
        }
        let mean = sum / n as f64;
        let variance = squares / n as f64 - mean * mean;
        let expected = 0.25 * 0.75 / 8.0;
        // Five standard errors.
        assert!((mean - 0.25).abs() < 5.0 * (expected / n as f64).sqrt(), "{mean}");
        assert!((variance / expected - 1.0).abs() < 5.0 * (2.0 / n as f64).sqrt(), "{variance}");
    }

    #[test]
    fn the_same_key_gives_the_same_image_and_another_seed_another() {
        let config = Augment { crop_padding: 2, flip: true, poisson_steps: 3 };
        let all = |seed| (0..50).map(|sample| augmented(config, seed, sample)).collect::<Vec<_>>();
        assert_eq!(all(3), all(3));
        assert_ne!(all(3), all(4));
        assert_eq!(augmented(Augment::default(), 3, 0), image());
    }
}
