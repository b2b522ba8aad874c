#![no_main]

nomopoly_fuzz::target!(bundle);
