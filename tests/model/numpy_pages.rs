//! The assignment of TEMPLAR-I, pages of 100 rows, from the same draws.

use templar::data::numpy::Pcg64;
use templar::window::{Uid, Window};

/// Rows of one page.
const PAGE_ROWS: u64 = 100;

/// 100 consecutive rows of a data set's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The configuration's name.
    pub config: String,
    /// The first row.
    pub row: u64,
}

/// The assignment of TEMPLAR-I: pages of FineWeb-Edu.
///
/// One stream for each UID, of which every window uses the next part: a page takes one output, its low
/// half for the configuration and its high half for the row.
#[derive(Debug, Clone)]
pub struct PageSampler {
    configs: Vec<(String, u64)>,
}

impl PageSampler {
    /// Takes configurations and their numbers of rows. They are sorted by name; `default`, and those that
    /// have no more rows than a page and one, are left out.
    pub fn new(configs: impl IntoIterator<Item = (String, u64)>) -> Self {
        let usable = |(name, rows): &(String, u64)| name != "default" && *rows > PAGE_ROWS + 1;
        let mut configs: Vec<_> = configs.into_iter().filter(usable).collect();
        configs.sort();
        Self { configs }
    }

    /// The pages of a UID in a window; none if there are no configurations.
    pub fn pages(&self, uid: Uid, window: Window, pages_per_window: usize) -> Vec<Page> {
        let Some(last_config) = (self.configs.len() as u64).checked_sub(1) else { return Vec::new() };
        let mut generator = Pcg64::new(uid.into());
        generator.advance(u128::from(window) * pages_per_window as u128);
        let mut page = || {
            let (config, rows) = &self.configs[generator.up_to(last_config) as usize];
            // The row is below `rows - 1 - 100`.
            let row = generator.up_to(rows - PAGE_ROWS - 2);
            Page { config: config.clone(), row }
        };
        (0..pages_per_window).map(|_| page()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_those_of_the_reference() {
        let configs = [("CC-C", 2_000_000), ("default", 9), ("CC-A", 1_000_000), ("CC-B", 500_000)];
        let sampler = PageSampler::new(configs.map(|(name, rows)| (name.to_owned(), rows)));
        let pages = |window| -> Vec<(String, u64)> {
            sampler.pages(7, window, 6).into_iter().map(|page| (page.config, page.row)).collect()
        };
        let named = |list: &[(&str, u64)]| -> Vec<(String, u64)> {
            list.iter().map(|(name, row)| ((*name).to_owned(), *row)).collect()
        };
        let expected = [
            ("CC-C", 1_702_876),
            ("CC-C", 1_510_975),
            ("CC-A", 336_650),
            ("CC-B", 38_741),
            ("CC-B", 66_098),
            ("CC-B", 92_117),
        ];
        assert_eq!(pages(100), named(&expected));
        assert_eq!(pages(101)[..2], named(&[("CC-A", 303_887), ("CC-C", 894_986)]));
    }

    #[test]
    fn no_usable_configuration_gives_no_pages() {
        assert!(PageSampler::new([("small".to_owned(), 101)]).pages(1, 1, 6).is_empty());
    }
}
