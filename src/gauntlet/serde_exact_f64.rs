//! Numbers of the state that come back to the last bit.
//!
//! A JSON reader may round a number by one unit in the last place, and a state that is read back must be
//! the one that was written. Rust writes the shortest decimal that reads back exactly: as a string, no
//! JSON library touches it.

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// `#[serde(with = "serde_exact_f64")]` for an `f64`.
pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// `#[serde(with = "serde_exact_f64")]` for an `f64`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let value: f64 = String::deserialize(deserializer)?.parse().map_err(D::Error::custom)?;
    if value.is_finite() { Ok(value) } else { Err(D::Error::custom("a number of the state is not finite")) }
}

/// `#[serde(with = "serde_exact_f64::rating")]`.
pub(super) mod rating {
    use crate::gauntlet::rating::Rating;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Exact {
        #[serde(with = "super")]
        mu: f64,
        #[serde(with = "super")]
        sigma: f64,
    }

    pub(in crate::gauntlet) fn serialize<S: Serializer>(
        rating: &Rating,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        Exact { mu: rating.mu, sigma: rating.sigma }.serialize(serializer)
    }

    pub(in crate::gauntlet) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Rating, D::Error> {
        Exact::deserialize(deserializer).map(|Exact { mu, sigma }| Rating { mu, sigma })
    }
}

/// `#[serde(with = "serde_exact_f64::config")]`: the rules as the TOML they came from, whose numbers are exact.
pub(super) mod config {
    use crate::manifest::GauntletConfig;
    use serde::{Deserialize, Deserializer, Serializer, de, ser};

    pub(in crate::gauntlet) fn serialize<S: Serializer>(
        config: &GauntletConfig,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&toml::to_string(config).map_err(ser::Error::custom)?)
    }

    pub(in crate::gauntlet) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<GauntletConfig, D::Error> {
        toml::from_str(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
