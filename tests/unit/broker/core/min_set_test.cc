#include "broker/core/min_set.h"

#include <random>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace penstock::broker {
namespace {

TEST(MinSetTest, IsAnOrderedSet) {
  std::mt19937_64 random(1);
  MinSet<int> set;
  std::set<int> model;
  for (int i = 0; i < 20'000; ++i) {
    // Few values, so that it is often empty, often has one, and often is asked for what it does not have.
    const int value = static_cast<int>(random() % 6);
    if (model.contains(value)) {
      set.Erase(value);
      model.erase(value);
    } else if (random() % 2 == 0) {
      set.Insert(value);
      model.insert(value);
    } else {
      set.Erase(value);
    }
    ASSERT_EQ(set.empty(), model.empty());
    if (!model.empty()) {
      ASSERT_EQ(set.first(), *model.begin());
    }
    std::vector<int> seen;
    set.ForEach([&](int found) {
      seen.push_back(found);
      return true;
    });
    ASSERT_EQ(seen, std::vector<int>(model.begin(), model.end()));
  }
}

TEST(MinSetTest, AVisitEndsWhenItIsToldTo) {
  MinSet<int> set;
  for (int value : {3, 1, 2}) set.Insert(value);
  int visits = 0;
  set.ForEach([&](int) { return ++visits < 2; });
  EXPECT_EQ(visits, 2);
}

}  // namespace
}  // namespace penstock::broker
