use super::SeedSequence;

/// numpy's `PCG64`: a 128-bit linear congruential generator with the output function XSL-RR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pcg64 {
    state: u128,
    increment: u128,
    /// The high half of the last output, where only the low one was used.
    half: Option<u32>,
}

const MULTIPLIER: u128 = (2_549_297_995_355_413_924 << 64) | 4_865_540_595_714_422_341;

impl Pcg64 {
    /// `numpy.random.default_rng(seed)`.
    pub fn new(seed: u128) -> Self {
        let [state_high, state_low, stream_high, stream_low] = SeedSequence::new(seed).state();
        let word = |high: u64, low: u64| u128::from(high) << 64 | u128::from(low);
        let increment = word(stream_high, stream_low) << 1 | 1;
        let mut generator = Self { state: 0, increment, half: None };
        generator.step();
        generator.state = generator.state.wrapping_add(word(state_high, state_low));
        generator.step();
        generator
    }

    fn step(&mut self) {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(self.increment);
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.step();
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        folded.rotate_right((self.state >> 122) as u32)
    }

    /// The next 32 bits: the low half of an output, then its high half.
    pub fn next_u32(&mut self) -> u32 {
        if let Some(high) = self.half.take() {
            return high;
        }
        let word = self.next_u64();
        self.half = Some((word >> 32) as u32);
        word as u32
    }

    /// Skips `steps` outputs of 64 bits in logarithmic time, and forgets a half that is left over.
    pub fn advance(&mut self, mut steps: u128) {
        let (mut multiplier, mut increment) = (MULTIPLIER, self.increment);
        let (mut all_multiplied, mut all_added) = (1u128, 0u128);
        while steps > 0 {
            if steps & 1 == 1 {
                all_multiplied = all_multiplied.wrapping_mul(multiplier);
                all_added = all_added.wrapping_mul(multiplier).wrapping_add(increment);
            }
            increment = multiplier.wrapping_add(1).wrapping_mul(increment);
            multiplier = multiplier.wrapping_mul(multiplier);
            steps >>= 1;
        }
        self.state = all_multiplied.wrapping_mul(self.state).wrapping_add(all_added);
        self.half = None;
    }

    /// A number of `0..=last`, each with the same probability: Lemire's multiplication, on 32 bits where
    /// `last` fits. No number is drawn for `last` = 0.
    pub fn up_to(&mut self, last: u64) -> u64 {
        const LAST_32: u64 = u32::MAX as u64;
        match last {
            0 => 0,
            u64::MAX => self.next_u64(),
            LAST_32 => self.next_u32().into(),
            _ if last < LAST_32 => {
                let count = last + 1;
                let rejected = (LAST_32 - last) % count;
                loop {
                    let product = u64::from(self.next_u32()) * count;
                    if product & LAST_32 >= rejected {
                        return product >> 32;
                    }
                }
            }
            _ => {
                let count = last + 1;
                let rejected = (u64::MAX - last) % count;
                loop {
                    let product = u128::from(self.next_u64()) * u128::from(count);
                    if product as u64 >= rejected {
                        return (product >> 64) as u64;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_those_of_numpy() {
        let mut generator = Pcg64::new(6_961_831);
        let first = [16_836_293_848_632_951_482, 12_047_576_626_695_172, 17_862_875_088_280_208_900];
        assert_eq!([(); 3].map(|()| generator.next_u64()), first);
    }

    #[test]
    fn advancing_skips_exactly_that_many() {
        for steps in [0u32, 1, 2, 3, 600, 100_001] {
            let (mut walked, mut jumped) = (Pcg64::new(7), Pcg64::new(7));
            for _ in 0..steps {
                walked.next_u64();
            }
            jumped.next_u32();
            jumped = Pcg64 { half: jumped.half, ..Pcg64::new(7) };
            jumped.advance(steps.into());
            assert_eq!(jumped, walked, "{steps}");
        }
    }
}
