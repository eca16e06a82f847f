//! A square matrix of judgements, and what consensus does with it.

/// Rows are validators, columns the neurons they judge.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Matrix {
    n: usize,
    cells: Vec<f64>,
}

impl Matrix {
    pub fn zero(n: usize) -> Self {
        Self { n, cells: vec![0.0; n * n] }
    }

    pub fn get(&self, i: usize, j: usize) -> f64 {
        self.cells[i * self.n + j]
    }

    pub fn set(&mut self, i: usize, j: usize, value: f64) {
        self.cells[i * self.n + j] = value;
    }

    pub fn rows(&self) -> impl Iterator<Item = &[f64]> {
        // Chunks of at least one: a subnet without neurons has no cells either.
        self.cells.chunks(self.n.max(1))
    }

    /// A matrix whose cells are a function of the place.
    pub fn from_fn(n: usize, cell: impl Fn(usize, usize) -> f64) -> Self {
        Self { n, cells: (0..n * n).map(|at| cell(at / n, at % n)).collect() }
    }

    /// Scales each row to the sum 1, unless it is all zero.
    pub fn normalize_rows(&mut self) {
        for row in self.cells.chunks_mut(self.n.max(1)) {
            let sum: f64 = row.iter().sum();
            if sum > 0.0 {
                row.iter_mut().for_each(|cell| *cell /= sum);
            }
        }
    }

    /// Scales each column to the sum 1, unless it is all zero.
    pub fn normalize_columns(&mut self) {
        self.scale_columns(|column| column.sum());
    }

    /// Scales each column to the maximum 1, unless it is all zero.
    pub fn upscale_columns(&mut self) {
        self.scale_columns(|column| column.fold(0.0, f64::max));
    }

    fn scale_columns(&mut self, measure: impl Fn(&mut dyn Iterator<Item = f64>) -> f64) {
        for j in 0..self.n {
            let by = measure(&mut (0..self.n).map(|i| self.get(i, j)));
            if by > 0.0 {
                (0..self.n).for_each(|i| self.set(i, j, self.get(i, j) / by));
            }
        }
    }

    /// For each column the largest judgement that validators with at least `kappa` of the stake share.
    pub fn consensus(&self, stake: &[f64], kappa: f64) -> Vec<f64> {
        let column = |j: usize| {
            let mut judged: Vec<(f64, f64)> =
                (0..self.n).filter(|i| stake[*i] > 0.0).map(|i| (self.get(i, j), stake[i])).collect();
            judged.sort_by(|a, b| b.0.total_cmp(&a.0));
            let mut support = 0.0;
            for (weight, stake) in judged {
                support += stake;
                // Sums of stakes carry rounding errors.
                if support >= kappa - 1e-12 {
                    return weight;
                }
            }
            0.0
        };
        (0..self.n).map(column).collect()
    }

    /// Lowers each cell to its column's bound.
    pub fn clip_columns(&mut self, bounds: &[f64]) {
        for row in self.cells.chunks_mut(self.n.max(1)) {
            row.iter_mut().zip(bounds).for_each(|(cell, bound)| *cell = cell.min(*bound));
        }
    }

    /// The sum of each column, rows weighted by stake.
    pub fn column_sums(&self, stake: &[f64]) -> Vec<f64> {
        (0..self.n).map(|j| (0..self.n).map(|i| stake[i] * self.get(i, j)).sum()).collect()
    }
}

/// Scales a vector to the sum 1, unless it is all zero.
pub(super) fn normalize(mut values: Vec<f64>) -> Vec<f64> {
    let sum: f64 = values.iter().sum();
    if sum > 0.0 {
        values.iter_mut().for_each(|value| *value /= sum);
    }
    values
}

/// A fraction in 65535ths, truncated. What rounding error alone keeps below a whole number counts as whole.
pub(super) fn to_u16(value: f64) -> u16 {
    (value.clamp(0.0, 1.0) * 65_535.0 + 1e-6) as u16
}
