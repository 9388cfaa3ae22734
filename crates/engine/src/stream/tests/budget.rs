//! What is reserved of the memory, and what is charged.

use std::sync::Arc;

use crate::stream::{Budget, Reservation};

#[test]
fn nothing_is_reserved_beyond_the_limit() {
    let budget = Budget::new(100);
    assert!(budget.reserve(60));
    assert!(!budget.reserve(41));
    assert!(budget.reserve(40));
    assert_eq!(budget.used(), 100);
    budget.release(100);
    assert_eq!(budget.used(), 0);
}

#[test]
fn what_is_charged_is_paid_by_the_next_reservation() {
    let budget = Budget::new(100);
    budget.charge(150);
    assert!(!budget.reserve(1));
    budget.release(60);
    assert!(budget.reserve(10));
}

#[test]
fn a_reservation_ends_with_its_owner() {
    let budget = Arc::new(Budget::new(100));
    let mut reservation = Reservation::empty(budget.clone());
    assert!(reservation.grow(80));
    assert!(!reservation.grow(30));
    assert_eq!(budget.used(), 80);
    drop(reservation);
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_part_of_a_reservation_can_outlive_it() {
    let budget = Arc::new(Budget::new(100));
    let mut reservation = Reservation::empty(budget.clone());
    assert!(reservation.grow(80));
    let part = reservation.split_off(30);
    drop(reservation);
    assert_eq!(budget.used(), 30);
    drop(part);
    assert_eq!(budget.used(), 0);
}

#[test]
fn spare_room_is_charged_for_as_long_as_the_reservation_lives() {
    let budget = Arc::new(Budget::new(100));
    let mut reservation = Reservation::empty(budget.clone());
    assert!(reservation.grow(60));
    reservation.charge_spare(60);
    assert_eq!(budget.used(), 120);
    assert!(!reservation.grow(41));
    assert!(reservation.grow(40), "one's own spare room is no obstacle");
    assert_eq!((budget.used(), reservation.bytes()), (120, 100));
    drop(reservation);
    let mut reservation = Reservation::empty(budget.clone());
    assert!(reservation.grow(60));
    reservation.charge_spare(10);
    assert_eq!((budget.used(), reservation.bytes()), (70, 60));
    assert!(reservation.grow(10), "what is spare is used first");
    assert_eq!((budget.used(), reservation.bytes()), (70, 70));
    reservation.charge_spare(20);
    reservation.leave(30);
    drop(reservation);
    assert_eq!(budget.used(), 30, "that is somebody else's now");
}
