//! What the evaluation harness takes from Python: its random numbers, and its rules for text.

/// Python's `random.Random`: the Mersenne Twister MT19937, seeded as CPython seeds it with a whole number.
///
/// Source: Matsumoto and Nishimura (1998), and CPython's `Modules/_randommodule.c` and `Lib/random.py`.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    state: [u32; SIZE],
    next: usize,
}

const SIZE: usize = 624;

impl Random {
    pub(crate) fn new(seed: u32) -> Self {
        let mut state = [0u32; SIZE];
        state[0] = 19_650_218;
        for i in 1..SIZE {
            let before = state[i - 1] ^ (state[i - 1] >> 30);
            state[i] = before.wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        // `init_by_array` with one word as its key.
        let mixed = |a: u32, factor: u32| (a ^ (a >> 30)).wrapping_mul(factor);
        let mut i = 1;
        let step = |state: &mut [u32; SIZE], i: &mut usize, factor: u32, add: u32, sub: u32| {
            state[*i] = (state[*i] ^ mixed(state[*i - 1], factor)).wrapping_add(add).wrapping_sub(sub);
            *i += 1;
            if *i == SIZE {
                state[0] = state[SIZE - 1];
                *i = 1;
            }
        };
        for _ in 0..SIZE {
            step(&mut state, &mut i, 1_664_525, seed, 0);
        }
        for _ in 1..SIZE {
            let sub = i as u32;
            step(&mut state, &mut i, 1_566_083_941, 0, sub);
        }
        state[0] = 0x8000_0000;
        Self { state, next: SIZE }
    }

    fn word(&mut self) -> u32 {
        if self.next == SIZE {
            for i in 0..SIZE {
                let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % SIZE] & 0x7fff_ffff);
                let twist = if y & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[i] = self.state[(i + 397) % SIZE] ^ (y >> 1) ^ twist;
            }
            self.next = 0;
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// `random()`: 53 bits below 1.
    fn unit(&mut self) -> f64 {
        let (high, low) = (self.word() >> 5, self.word() >> 6);
        (f64::from(high) * 67_108_864.0 + f64::from(low)) / 9_007_199_254_740_992.0
    }

    /// `choices(range(count), k=1)[0]`.
    pub(crate) fn choice(&mut self, count: usize) -> usize {
        (self.unit() * count as f64) as usize
    }

    /// A number below `limit`, which is at least 1.
    fn below(&mut self, limit: usize) -> usize {
        let bits = usize::BITS - limit.leading_zeros();
        loop {
            let drawn = (self.word() >> (32 - bits.clamp(1, 32))) as usize;
            if drawn < limit {
                return drawn;
            }
        }
    }

    /// `sample(range(population), count)`; None where the population is smaller.
    pub(crate) fn sample(&mut self, population: usize, count: usize) -> Option<Vec<usize>> {
        if count > population {
            return None;
        }
        // Both ways of drawing are CPython's, and which it takes decides what comes.
        let mut set_size = 21;
        if count > 5 {
            set_size += 4usize.pow((count as f64 * 3.0).log(4.0).ceil() as u32);
        }
        if population <= set_size {
            let mut pool: Vec<usize> = (0..population).collect();
            let draw = |i: usize| {
                let at = self.below(population - i);
                let drawn = pool[at];
                pool[at] = pool[population - i - 1];
                drawn
            };
            return Some((0..count).map(draw).collect());
        }
        let mut drawn: Vec<usize> = Vec::with_capacity(count);
        while drawn.len() < count {
            let next = self.below(population);
            if !drawn.contains(&next) {
                drawn.push(next);
            }
        }
        Some(drawn)
    }
}

/// What Python's `str.isspace` holds for.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `str.strip`.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// `str.lstrip`.
pub(crate) fn lstrip(text: &str) -> &str {
    text.trim_start_matches(is_space)
}

/// `str.rstrip`.
pub(crate) fn rstrip(text: &str) -> &str {
    text.trim_end_matches(is_space)
}

/// `str.capitalize`: the first character as in a title, the others small.
pub(crate) fn capitalize(text: &str) -> String {
    let mut characters = text.chars();
    let Some(first) = characters.next() else { return String::new() };
    // The rest is made small as part of the word, for a sigma at its end has a letter of its own.
    let small = text.to_lowercase();
    let rest = &small[first.to_lowercase().map(char::len_utf8).sum::<usize>().min(small.len())..];
    title(first) + rest
}

/// A character at a title's front. It differs from the capital letter where that is two letters, and in Georgian.
fn title(c: char) -> String {
    let single = |code: u32| char::from_u32(code).map(String::from).unwrap_or_default();
    match u32::from(c) {
        code @ 0x1c4..=0x1cc => single([0x1c5, 0x1c8, 0x1cb][(code as usize - 0x1c4) / 3]),
        0x149 => c.to_uppercase().collect(),
        0x1f1..=0x1f3 => single(0x1f2),
        code @ (0x1f80..=0x1f87 | 0x1f90..=0x1f97 | 0x1fa0..=0x1fa7) => single(code + 8),
        code @ (0x1fb3 | 0x1fc3 | 0x1ff3) => single(code + 9),
        0x1f88..=0x1f8f | 0x1f98..=0x1f9f | 0x1fa8..=0x1faf | 0x10d0..=0x10ff => c.to_string(),
        _ => {
            let capital: String = c.to_uppercase().collect();
            let mut letters = capital.chars();
            // One that has no capital of its own, as the German sharp s, is a capital and small letters.
            let front: String = letters.next().into_iter().collect();
            front + &letters.as_str().to_lowercase()
        }
    }
}

/// `re.sub("\\[.*?\\]", "", text)`.
pub(crate) fn without_brackets(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('[') {
        let (front, from) = rest.split_at(open);
        kept.push_str(front);
        let end = from.find([']', '\n']).unwrap_or(from.len());
        if from[end..].starts_with(']') {
            rest = &from[end + 1..];
        } else {
            // No bracket before the line's end is closed.
            kept.push_str(&from[..end]);
            rest = &from[end..];
        }
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All expectations here are what CPython 3.11 printed.
    #[test]
    fn numbers_are_pythons() {
        let mut random = Random::new(1234);
        assert_eq!(
            [random.word(), random.word(), random.word()],
            [4_150_886_329, 3_342_196_574, 1_892_932_127]
        );
        let mut random = Random::new(1234);
        let mut sample = |population, count| random.sample(population, count).unwrap();
        assert_eq!(sample(10, 3), [7, 1, 0]);
        assert_eq!(sample(1000, 5), [92, 932, 965, 961, 826]);
        assert_eq!(sample(50, 7), [37, 2, 42, 44, 5, 6, 22]);
        assert_eq!(sample(100, 7), [30, 2, 3, 44, 82, 79, 61]);
        assert_eq!(
            sample(21, 21),
            [19, 14, 4, 2, 5, 3, 13, 0, 8, 7, 15, 1, 12, 11, 20, 18, 6, 16, 9, 10, 17]
        );
        assert_eq!(sample(5000, 60)[57..], [2422, 2253, 1014]);
        assert_eq!(Random::new(1).sample(3, 4), None);
        let mut random = Random::new(0);
        assert_eq!([(); 5].map(|()| random.choice(100)), [84, 75, 42, 25, 51]);
        assert_eq!(random.unit(), 0.4049341374504143);
        let mut random = Random::new(99);
        assert_eq!([(); 3].map(|()| random.choice(5153)), [2081, 1030, 921]);
    }

    #[test]
    fn text_is_pythons() {
        for (text, expected) in [
            ("ǆabc", "ǅabc"),
            ("ßaB", "Ssab"),
            ("ﬁRE", "Fire"),
            ("ᾳX", "ᾼx"),
            ("აბ", "აბ"),
            ("ΑΣ ΟΔΟΣ", "Ας οδος"),
            ("", ""),
            ("éÉ", "Éé"),
            ("ŉA", "ʼNa"),
            ("İI", "İi"),
            ("1aB", "1ab"),
        ] {
            assert_eq!(capitalize(text), expected);
        }
        for (text, expected) in [
            ("a [b] c", "a  c"),
            ("[a\nb] [c]", "[a\nb] "),
            ("[[x]] y]", "] y]"),
            ("[open", "[open"),
            ("[[a\n[b]", "[[a\n"),
            ("no", "no"),
            ("[title] a  b", " a  b"),
        ] {
            assert_eq!(without_brackets(text), expected);
        }
        assert_eq!((strip("\u{1f} a\u{85}"), lstrip("\u{a0}b "), rstrip(" c\u{3000}")), ("a", "b ", " c"));
    }
}
