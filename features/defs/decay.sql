-- The weight of what happened `age` microseconds ago, in millionths: 2^(-age/half_life), with the exponent rounded down to a
-- 64th. Whole numbers throughout, so that every machine gets the same sum. What lies ahead of as_of weighs as if now.
(age, half_life) -> bitShiftRight(
    arrayElement([
        1000000, 989228, 978572, 968031, 957603, 947288, 937084, 926990, 917004, 907126, 897355, 887688,
        878126, 868667, 859310, 850053, 840896, 831838, 822878, 814014, 805245, 796571, 787990, 779502,
        771105, 762799, 754582, 746454, 738413, 730459, 722590, 714807, 707107, 699490, 691955, 684501,
        677128, 669834, 662618, 655481, 648420, 641435, 634525, 627690, 620929, 614240, 607624, 601078,
        594604, 588198, 581862, 575595, 569394, 563261, 557193, 551191, 545254, 539380, 533570, 527823,
        522137, 516512, 510949, 505445
    ], bitAnd(intDiv(greatest(age, 0), intDiv(half_life, 64)), 63) + 1),
    least(63, bitShiftRight(intDiv(greatest(age, 0), intDiv(half_life, 64)), 6)))
