/// numpy's `SeedSequence` without a spawn key: spreads a seed over as many words as are needed.
///
/// The algorithm is Melissa O'Neill's `seed_seq_fe128`, with a pool of four words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedSequence {
    pool: [u32; 4],
}

const INIT_A: u32 = 0x43b0_d7e5;
const MULT_A: u32 = 0x931e_8875;
const INIT_B: u32 = 0x8b51_f9dd;
const MULT_B: u32 = 0x58f3_8ded;
const MIX_LEFT: u32 = 0xca01_f9dd;
const MIX_RIGHT: u32 = 0x4973_f715;

fn hashed(value: u32, constant: &mut u32, multiplier: u32) -> u32 {
    let value = value ^ *constant;
    *constant = constant.wrapping_mul(multiplier);
    let value = value.wrapping_mul(*constant);
    value ^ (value >> 16)
}

fn mixed(left: u32, right: u32) -> u32 {
    let value = left.wrapping_mul(MIX_LEFT).wrapping_sub(right.wrapping_mul(MIX_RIGHT));
    value ^ (value >> 16)
}

impl SeedSequence {
    /// Of an integer that is not negative.
    pub fn new(entropy: u128) -> Self {
        // At most four words, so the part of the algorithm for longer seeds never applies.
        let mut constant = INIT_A;
        let mut pool = [0; 4];
        for (i, word) in pool.iter_mut().enumerate() {
            *word = hashed((entropy >> (32 * i)) as u32, &mut constant, MULT_A);
        }
        for source in 0..4 {
            for target in (0..4).filter(|&target| target != source) {
                pool[target] = mixed(pool[target], hashed(pool[source], &mut constant, MULT_A));
            }
        }
        Self { pool }
    }

    /// The first `N` words of 64 bits.
    pub fn state<const N: usize>(&self) -> [u64; N] {
        let mut constant = INIT_B;
        let mut words = self.pool.iter().cycle();
        let mut next = || hashed(words.next().copied().unwrap_or_default(), &mut constant, MULT_B);
        std::array::from_fn(|_| {
            let low = next();
            u64::from(low) | u64::from(next()) << 32
        })
    }
}
