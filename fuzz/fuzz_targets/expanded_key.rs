#![no_main]

nomopoly_fuzz::target!(expanded_key);
