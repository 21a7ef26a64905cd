"""The README's picture, made as lesson 00 makes it: writes data/results/five-classes.jpg at 2x.

python benchmarks/readme_picture.py
"""

import torch

from cambook import datasets, files, networks
from cambook.course import show
from cambook.maps import class_activation_map, normalize


@torch.no_grad()
def main() -> None:
    network = networks.build("lite0-gap", weights="pretrained")
    image = datasets.example_picture("china", 224)
    logits, feature_maps = network(image)
    probabilities, classes = logits.softmax(1)[0].topk(5)
    maps = normalize(class_activation_map(feature_maps, network.class_weight[classes]))[0]
    names = [networks.imagenet_classes()[i] for i in classes]
    takeaway = "One network, one photograph, five questions: where is each class?"
    figure = show.top_classes(image[0], names, probabilities.tolist(), list(maps), takeaway)
    print(show.save(figure, files.DATA / "results" / "five-classes.jpg"))


if __name__ == "__main__":
    main()
