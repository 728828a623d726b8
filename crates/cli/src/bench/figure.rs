//! Figures: samples, percentiles, goals, and how they are shown.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// What something is compared with, measured in the same run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reference {
    /// What it is.
    pub name: String,
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
}

/// One promise, measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// `ms`, `MiB`, `x` (ratio) or `count`.
    pub unit: Cow<'static, str>,
    /// Samples.
    pub n: usize,
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// Largest median that keeps the promise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goal_p50: Option<f64>,
    /// Largest 95th percentile that keeps the promise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goal_p95: Option<f64>,
    /// What it is compared with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Reference>,
    /// Whether every goal is met.
    pub holds: bool,
}

impl Figure {
    /// A figure from its samples.
    pub fn new(name: impl Into<String>, unit: &'static str, samples: &[f64]) -> Self {
        let (p50, p95) = percentiles(samples);
        Self {
            name: name.into(),
            unit: unit.into(),
            n: samples.len(),
            p50,
            p95,
            goal_p50: None,
            goal_p95: None,
            references: Vec::new(),
            holds: true,
        }
    }

    /// Sets the goals.
    pub fn goals(mut self, p50: impl Into<Option<f64>>, p95: impl Into<Option<f64>>) -> Self {
        self.goal_p50 = p50.into();
        self.goal_p95 = p95.into();
        let within = |value: f64, goal: Option<f64>| goal.is_none_or(|goal| value <= goal);
        self.holds = within(self.p50, self.goal_p50) && within(self.p95, self.goal_p95);
        self
    }

    /// A count that must reach `least`.
    pub fn at_least(mut self, least: f64) -> Self {
        self.goal_p50 = Some(least);
        self.holds = self.p50 >= least;
        self
    }

    /// Adds a reference.
    pub fn against(mut self, name: impl Into<String>, samples: &[f64]) -> Self {
        if !samples.is_empty() {
            let (p50, p95) = percentiles(samples);
            self.references.push(Reference {
                name: name.into(),
                p50,
                p95,
            });
        }
        self
    }

    /// One line of a table.
    pub fn line(&self) -> String {
        let goal = match (self.goal_p50, self.goal_p95) {
            (None, None) => String::new(),
            (p50, p95) => {
                let show =
                    |goal: Option<f64>| goal.map_or("-".to_owned(), |goal| format!("{goal}"));
                format!(
                    "goal {} / {} {}",
                    show(p50),
                    show(p95),
                    if self.holds { "held" } else { "MISSED" }
                )
            }
        };
        let references: Vec<String> = self
            .references
            .iter()
            .map(|reference| {
                format!(
                    "{} {:.2} / {:.2}",
                    reference.name, reference.p50, reference.p95
                )
            })
            .collect();
        format!(
            "{:<44} {:>9.2} {:>9.2} {:<5} n={:<5} {goal:<24} {}",
            self.name,
            self.p50,
            self.p95,
            self.unit,
            self.n,
            references.join("; ")
        )
        .trim_end()
        .to_owned()
    }
}

/// Median and 95th percentile (nearest rank); zero without samples.
pub fn percentiles(samples: &[f64]) -> (f64, f64) {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = |percent: usize| {
        let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(at).copied().unwrap_or(0.0)
    };
    (rank(50), rank(95))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let samples: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentiles(&samples), (50.0, 95.0));
        assert_eq!(percentiles(&[7.0]), (7.0, 7.0));
        assert_eq!(percentiles(&[]), (0.0, 0.0));
        assert_eq!(percentiles(&[3.0, 1.0, 2.0]), (2.0, 3.0));
    }

    #[test]
    fn a_goal_is_held_or_missed() {
        assert!(Figure::new("a", "ms", &[1.0, 2.0]).goals(1.0, 2.0).holds);
        assert!(!Figure::new("a", "ms", &[1.0, 2.0]).goals(1.0, 1.5).holds);
        assert!(!Figure::new("a", "count", &[299.0]).at_least(300.0).holds);
    }
}
