//! Examples worked by hand. Validators come first, then the neurons that they judge.

use super::*;

/// Two validators with half of the stake each and two miners, judged (½, ½) and (1, 0).
fn two_and_two() -> Input {
    let member = |stake, weights: &[(u16, u16)]| Member {
        stake,
        active: true,
        permit: stake > 0.0,
        registered: 1,
        last_update: 50,
        weights: weights.to_vec(),
        ..Default::default()
    };
    Input {
        members: vec![
            member(7.0, &[(2, 65_535), (3, 65_535)]),
            member(7.0, &[(2, 65_535)]),
            member(0.0, &[]),
            member(0.0, &[]),
        ],
        owner: None,
        emission: 1_000,
        kappa: 0.5,
        bonds_penalty: 1.0,
        bonds_alpha: 0.1,
        bonds: BondRule::Classic,
        last_tempo: 40,
        max_validators: 64,
    }
}

fn column<V>(output: &Output, value: impl Fn(&Neuron) -> V) -> Vec<V> {
    output.neurons.iter().map(value).collect()
}

#[test]
fn incentive_and_dividends_of_two_validators() {
    let output = epoch(&two_and_two());
    // Half of the stake supports all of the second validator's weight.
    assert_eq!(column(&output, |n| n.consensus), [0, 0, 65_535, 32_767]);
    assert_eq!(column(&output, |n| n.validator_trust), [65_535, 65_535, 0, 0]);
    // Ranks are ½·½ + ½·1 = ¾ and ½·½ = ¼.
    assert_eq!(column(&output, |n| n.incentive), [0, 0, 49_151, 16_383]);
    // Bonds are (⅓, 1) and (⅔, 0), so both earn ½: ⅓·¾ + ¼ and ⅔·¾.
    assert_eq!(column(&output, |n| n.dividends), [32_767, 32_767, 0, 0]);
    assert_eq!(column(&output, |n| n.server), [0, 0, 375, 125]);
    assert_eq!(column(&output, |n| n.validator), [250, 250, 0, 0]);
    assert_eq!(column(&output, |n| n.emission()), [250, 250, 375, 125]);
    assert_eq!(column(&output, |n| n.stake_weight), [32_767, 32_767, 0, 0]);
    assert_eq!(column(&output, |n| n.permit), [true, true, false, false]);
    // Stored so that each column's largest is one.
    assert_eq!(output.bonds[0], [(2, 32_767), (3, 65_535)]);
    assert_eq!(output.bonds[1], [(2, 65_535)]);
    assert!(output.bonds[2].is_empty() && output.bonds[3].is_empty());
}

#[test]
fn a_minority_cannot_lift_its_own() {
    let mut input = two_and_two();
    input.members.insert(2, Member { stake: 4.0, weights: vec![(4, 9)], ..input.members[1].clone() });
    input.members[0] = Member { stake: 10.0, weights: vec![(3, 5)], ..input.members[1].clone() };
    input.members[1] = Member { stake: 6.0, weights: vec![(3, 5)], ..input.members[1].clone() };
    for bonds in [BondRule::Classic, BondRule::Yuma3] {
        let output = epoch(&Input { bonds, ..input.clone() });
        assert_eq!(column(&output, |n| n.consensus), [0, 0, 0, 65_535, 0], "{bonds:?}");
        assert_eq!(column(&output, |n| n.validator_trust), [65_535, 65_535, 0, 0, 0]);
        assert_eq!(column(&output, |n| n.incentive), [0, 0, 0, 65_535, 0]);
        // 10 and 6 of 16.
        assert_eq!(column(&output, |n| n.dividends), [40_959, 24_575, 0, 0, 0], "{bonds:?}");
    }
}

#[test]
fn yuma3_bonds_move_towards_weights() {
    let mut input = two_and_two();
    input.bonds = BondRule::Yuma3;
    let output = epoch(&input);
    // A tenth of the weights; shares of the columns are those of the classic rule here.
    assert_eq!(output.bonds[0], [(2, 3_276), (3, 3_276)]);
    assert_eq!(output.bonds[1], [(2, 6_553)]);
    assert_eq!(column(&output, |n| n.dividends), [32_767, 32_767, 0, 0]);
    for (member, bonds) in input.members.iter_mut().zip(output.bonds) {
        member.bonds = bonds;
    }
    // 0.1·65535 + 0.9·6553 = 12451.2.
    assert_eq!(epoch(&input).bonds[1], [(2, 12_451)]);
    // Neuron 2 was registered after the last epoch: it has no past.
    input.members[2].registered = 45;
    assert_eq!(epoch(&input).bonds[1], [(2, 6_553)]);
}

#[test]
fn liquid_alpha_depends_on_the_distance_from_consensus() {
    let mut input = two_and_two();
    input.bonds = BondRule::Liquid { low: 0.7, high: 0.9, steepness: 10.0 };
    // The second validator agrees with consensus: 0.7 + 0.2 / (1 + e^5) = 0.70133857.
    assert_eq!(epoch(&input).bonds[1], [(2, 45_962)]);
}

#[test]
fn some_weights_do_not_count() {
    let incentive = |change: &dyn Fn(&mut Input)| {
        let mut input = two_and_two();
        change(&mut input);
        column(&epoch(&input), |n| n.incentive)
    };
    // Without its second validator, the first one's (½, ½) is all.
    let alone = vec![0, 0, 32_767, 32_767];
    assert_eq!(incentive(&|input| input.members[1].permit = false), alone);
    assert_eq!(incentive(&|input| input.members[1].active = false), alone);
    assert_eq!(incentive(&|input| input.members[1].weights = vec![(1, 9)]), alone, "on itself");
    assert_eq!(incentive(&|input| input.members[1].weights = vec![(9, 9)]), alone, "on nobody");
    // Neuron 2 is younger than the weights, or than what was committed.
    let younger = vec![0, 0, 0, 65_535];
    assert_eq!(incentive(&|input| input.members[2].registered = 50), younger);
    let committed = |input: &mut Input| {
        input.members[2].registered = 45;
        input.members[0].earliest_commit = Some(44);
        input.members[1].earliest_commit = Some(44);
    };
    assert_eq!(incentive(&committed), younger);
    // The owner may judge itself.
    let owner = |input: &mut Input| {
        input.owner = Some(1);
        input.members[1].weights = vec![(1, 9)];
    };
    assert_eq!(incentive(&owner), [0, 32_767, 16_383, 16_383]);
}

#[test]
fn without_weights_stake_earns() {
    let mut input = two_and_two();
    input.members[0].stake = 21.0;
    input.members.iter_mut().for_each(|member| member.weights.clear());
    assert_eq!(column(&epoch(&input), |n| n.validator), [750, 250, 0, 0]);
    input.members.iter_mut().for_each(|member| member.active = false);
    assert_eq!(column(&epoch(&input), |n| n.validator), [750, 250, 0, 0]);
    assert!(epoch(&Input { members: vec![], ..input }).neurons.is_empty());
}

#[test]
fn permits_go_to_the_largest_stakes() {
    let stake = [0.3, 0.1, 0.0, 0.3, 0.3];
    assert_eq!(permits(&stake, None, 2), [false, false, false, true, true]);
    assert_eq!(permits(&stake, Some(2), 4), [true, true, true, true, true]);
    assert_eq!(permits(&stake, None, 9), [true, true, false, true, true]);
}
