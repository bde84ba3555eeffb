//! What stored values stand for: the number that they are divided by, and the range that is kept as [0, 1].
//!
//! Pure. The configuration decides; what it leaves open is found from the training samples, by one rule that is said aloud.

use model::config::{DataConfig, Scaling};

use crate::elements::Values;

/// Smallest and largest of some values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Extent {
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// Whether the file's type is one of whole numbers.
    pub(crate) are_whole: bool,
}

impl Extent {
    /// `None` without values.
    pub(crate) fn of(values: &Values) -> Option<Self> {
        match values {
            Values::Bytes(bytes) => {
                let (min, max) = (*bytes.iter().min()?, *bytes.iter().max()?);
                Some(Self { min: min.into(), max: max.into(), are_whole: true })
            }
            Values::Reals { values, are_whole } => {
                let first = f64::from(*values.first()?);
                let (min, max) = values
                    .iter()
                    .fold((first, first), |(min, max), &value| (min.min(value.into()), max.max(value.into())));
                Some(Self { min, max, are_whole: *are_whole })
            }
        }
    }

    /// The number that whole numbers of this extent are divided by: 255 or 65,535 if the largest is more than half of that, else the
    /// largest itself, so that images of 0 and 1 or in sixteenths are not almost black; 1 for all others.
    fn usual_scale(self) -> f64 {
        if !self.are_whole || self.min < 0.0 || self.max <= 0.0 {
            return 1.0;
        }
        [255.0, 65_535.0].into_iter().find(|&white| self.max > white / 2.0 && self.max <= white).unwrap_or(self.max)
    }

    /// What the configuration says, and for what it leaves open what these values tell.
    ///
    /// The range is [0, 1] where values lie in it once they are divided; else it reaches from the smallest value, or 0 if none is
    /// negative, to the largest.
    pub(crate) fn scaling(self, config: &DataConfig) -> Scaling {
        let scale = config.scale.unwrap_or_else(|| self.usual_scale());
        let (low, high) = ((self.min / scale).min(0.0), self.max / scale);
        let spanned =
            if low >= 0.0 && high <= 1.0 { [0.0, 1.0] } else { [low, if high > low { high } else { low + 1.0 }] };
        Scaling { scale, range: config.range.unwrap_or(spanned) }
    }

    /// What was found, in one sentence; `None` if the configuration says it all.
    ///
    /// - `of`: whose values they are
    pub(crate) fn note(self, config: &DataConfig, of: &str) -> Option<String> {
        let Scaling { scale, range: [low, high] } = self.scaling(config);
        let mut keys = Vec::new();
        let Self { min, max, are_whole } = self;
        let is_byte = are_whole && min >= 0.0 && max <= 255.0;
        let what = if is_byte {
            "bytes"
        } else if are_whole {
            "whole numbers"
        } else {
            "floats"
        };
        let found = if min < 0.0 { format!("{what} from {min} to {max}") } else { format!("{what} up to {max}") };
        let mut text = format!("pixels: {found} in the {of} samples");
        if config.scale.is_none() {
            text.push_str(&if scale == 1.0 {
                ", taken as they are".to_owned()
            } else {
                format!(", divided by {scale}")
            });
            keys.push("data.scale");
        }
        if config.range.is_none() && [low, high] != [0.0, 1.0] {
            text.push_str(&format!(", {low} to {high} kept as 0 to 1, of which the network sees the values"));
            keys.push("data.range");
        }
        (!keys.is_empty()).then(|| format!("{text} ({})", keys.join(", ")))
    }
}

/// The value in [0, 1] that a stored one is kept as.
pub(crate) fn kept(scaling: Scaling, stored: f64) -> f32 {
    let Scaling { scale, range: [low, high] } = scaling;
    if low == 0.0 {
        // In 32-bit floats, as bytes have been divided from the first.
        stored as f32 / (scale * high) as f32
    } else {
        ((stored / scale - low) / (high - low)) as f32
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(min: f64, max: f64) -> Extent {
        Extent { min, max, are_whole: true }
    }

    fn floats(min: f64, max: f64) -> Extent {
        Extent { min, max, are_whole: false }
    }

    #[test]
    fn whole_numbers_are_divided_by_what_is_white_among_them() {
        let config = DataConfig::default();
        for (max, scale) in [
            (255.0, 255.0),
            (200.0, 255.0),
            (128.0, 255.0),
            (127.0, 127.0),
            (16.0, 16.0),
            (1.0, 1.0),
            (4095.0, 4095.0),
            (65_535.0, 65_535.0),
            (40_000.0, 65_535.0),
            (256.0, 256.0),
            (100_000.0, 100_000.0),
        ] {
            assert_eq!(whole(0.0, max).scaling(&config), Scaling::by(scale), "{max}");
        }
        // Nothing but black: nothing can be told.
        assert_eq!(whole(0.0, 0.0).scaling(&config), Scaling::by(1.0));
    }

    #[test]
    fn values_outside_0_to_1_are_kept_by_their_range() {
        let config = DataConfig::default();
        assert_eq!(floats(0.0, 1.0).scaling(&config), Scaling::by(1.0));
        assert_eq!(floats(0.1, 0.3).scaling(&config), Scaling::by(1.0));
        let of = |extent: Extent| extent.scaling(&config);
        assert_eq!(of(floats(-2.5, 3.0)), Scaling { scale: 1.0, range: [-2.5, 3.0] });
        assert_eq!(of(floats(0.5, 3.0)), Scaling { scale: 1.0, range: [0.0, 3.0] });
        assert_eq!(of(floats(-3.0, -1.0)), Scaling { scale: 1.0, range: [-3.0, -1.0] });
        assert_eq!(of(floats(-3.0, -3.0)), Scaling { scale: 1.0, range: [-3.0, -2.0] });
        assert_eq!(of(whole(-4.0, 9.0)), Scaling { scale: 1.0, range: [-4.0, 9.0] });
    }

    #[test]
    fn the_configuration_has_the_last_word() {
        let raw = DataConfig { scale: Some(1.0), ..DataConfig::default() };
        assert_eq!(whole(0.0, 255.0).scaling(&raw), Scaling { scale: 1.0, range: [0.0, 255.0] });
        let wide = DataConfig { range: Some([-1.0, 1.0]), ..DataConfig::default() };
        assert_eq!(whole(0.0, 255.0).scaling(&wide), Scaling { scale: 255.0, range: [-1.0, 1.0] });
        assert_eq!(floats(0.0, 7.0).scaling(&DataConfig { scale: Some(10.0), ..raw }), Scaling::by(10.0));
    }

    #[test]
    fn what_was_found_is_said() {
        let config = DataConfig::default();
        let said = |extent: Extent, config: &DataConfig| extent.note(config, "training").unwrap();
        assert_eq!(
            said(whole(0.0, 16.0), &config),
            "pixels: bytes up to 16 in the training samples, divided by 16 (data.scale)"
        );
        assert_eq!(
            said(floats(-2.5, 3.0), &config),
            "pixels: floats from -2.5 to 3 in the training samples, taken as they are, -2.5 to 3 kept as 0 to 1, \
             of which the network sees the values (data.scale, data.range)"
        );
        let given = DataConfig { scale: Some(255.0), range: Some([0.0, 1.0]), ..DataConfig::default() };
        assert_eq!(whole(0.0, 16.0).note(&given, "training"), None);
    }

    proptest! {
        #[test]
        fn the_network_can_have_every_value_back(
            stored in proptest::collection::vec(-1e6_f64..1e6, 1..30), scale in 0.01_f64..1e3,
        ) {
            let (min, max) = stored.iter().fold((f64::MAX, f64::MIN), |(min, max), &value| (min.min(value), max.max(value)));
            let config = DataConfig { scale: Some(scale), ..DataConfig::default() };
            let scaling = floats(min, max).scaling(&config);
            let [low, high] = scaling.range;
            for value in stored {
                let p = kept(scaling, value);
                prop_assert!((-1e-6..=1.0 + 1e-6).contains(&p));
                // A 32-bit float's relative error, of the range.
                let back = low + (high - low) * f64::from(p);
                prop_assert!((back - value / scale).abs() <= 3e-7 * (high - low), "{} {}", back, value / scale);
            }
        }
    }
}
