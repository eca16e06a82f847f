//! Each instruction set against the plain one.

use super::*;

/// All that a vector can do with some numbers, as bits.
struct Everything<'a> {
    floats: &'a Tile,
    whole: &'a [[i32; 64]; 4],
}

impl Work for Everything<'_> {
    type Out = Vec<u32>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Vec<u32> {
        let mut out = Vec::new();
        let mut row = [0f32; 64];
        let mut ints = [0i32; 64];
        let mut keep = |row: &[f32; 64]| out.extend(row.iter().map(|x| x.to_bits()));
        let (a, b) = (&self.floats[0], &self.floats[1]);
        for operation in 0..4 {
            for at in (0..64).step_by(S::LANES) {
                let (x, y) = (s.load(a, at), s.load(b, at));
                let z = match operation {
                    0 => s.add(x, y),
                    1 => s.sub(x, y),
                    2 => s.mul(x, y),
                    _ => s.splat(a[5]),
                };
                s.store(z, &mut row, at);
            }
            keep(&row);
        }
        // The transpose of the whole tile, block by block.
        let mut turned: Tile = [[0.0; 64]; 64];
        for y in (0..64).step_by(S::LANES) {
            for x in (0..64).step_by(S::LANES) {
                let mut rows = [s.splat(0.0); 16];
                for i in 0..S::LANES {
                    rows[i] = s.load(&self.floats[y + i], x);
                }
                let columns = s.transpose(rows);
                for i in 0..S::LANES {
                    s.store(columns[i], &mut turned[x + i], y);
                }
            }
        }
        turned.iter().for_each(&mut keep);

        let [w, x, y, z] = self.whole;
        let mut keep = |ints: &[i32; 64]| out.extend(ints.iter().map(|x| *x as u32));
        for operation in 0..9 {
            for at in (0..64).step_by(S::LANES) {
                let (i, j, k) = (s.load_whole(w, at), s.load_whole(x, at), s.load_whole(y, at));
                let result = match operation {
                    0 => s.add_whole(i, j),
                    1 => s.sub_whole(i, j),
                    2 => s.dot(i, j, k),
                    3 => s.abs_whole(i),
                    4 => s.max_whole(i, j),
                    5 => s.shift_right(i, (z[0] & 31) as u32),
                    6 => s.pack(i, j),
                    7 => s.max_magnitude(s.load(a, at), s.abs_whole(i)),
                    _ => s.splat_whole(s.largest(i) as i32 & i32::from(at == 0)),
                };
                s.store_whole(result, &mut ints, at);
            }
            if operation < 8 {
                keep(&ints);
            }
        }
        let (mut even, mut odd) = ([s.splat_whole(0); 8], [s.splat_whole(0); 8]);
        for j in 0..32 / S::LANES {
            even[j] = s.load_whole(y, j * S::LANES);
            odd[j] = s.load_whole(z, j * S::LANES);
        }
        let (mut signs, mut floats) = ([0i8; 64], [0f32; 64]);
        s.row_of_signs(&even, &odd, &mut signs);
        s.row_of_floats(&even, &odd, 0.37, &mut floats);
        out.extend(signs.iter().map(|x| *x as u32));
        out.extend(floats.iter().map(|x| x.to_bits()));

        let keys: Vec<u32> = w.iter().map(|x| x.unsigned_abs() & 0x7fff_ffff).collect();
        let mut places = [0u16; TILE + SLACK];
        for bound in [0, 1, keys[3], keys[40], 0x3f80_0000, u32::MAX >> 1] {
            out.push(s.count_at_least(&keys, bound) as u32);
            let found = s.collect_at_least(self.floats, bound, &mut places);
            out.push(found as u32);
            out.extend(places[..found].iter().map(|p| u32::from(*p)));
        }
        s.prefetch(a);
        s.prefetch(&[]);
        out
    }
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let mut state = 7u64;
    let mut draw = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 32) as i32
    };
    for round in 0..20 {
        let mut floats: Tile = [[0.0; 64]; 64];
        let scale = if round % 2 == 0 { 1e-9 } else { 1e3 };
        floats.as_flattened_mut().iter_mut().for_each(|x| *x = draw() as f32 * scale);
        let mut whole = [[0i32; 64]; 4];
        whole.as_flattened_mut().iter_mut().for_each(|x| *x = draw() >> (round % 9));
        whole[0][1] = i32::MIN;
        // Sums of the symmetries stay inside of 32 bits, as those of the aggregate do.
        whole[2..].as_flattened_mut().iter_mut().for_each(|x| *x >>= 2);
        whole[3][7] = whole[2][7];
        let expected = Path::portable().run(Everything { floats: &floats, whole: &whole });
        for path in Path::all() {
            let found = path.run(Everything { floats: &floats, whole: &whole });
            assert_eq!(found.len(), expected.len());
            let differs = found.iter().zip(&expected).position(|(a, b)| a != b);
            assert_eq!(differs, None, "{}", path.name());
        }
    }
}
