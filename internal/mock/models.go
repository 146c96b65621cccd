package mock

type modelObject struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

func (c *call) listModels() error {
	data := []modelObject{}
	for _, id := range c.s.order {
		m := c.s.models[id]
		data = append(data, modelObject{m.ID, "model", m.Created, m.OwnedBy})
	}
	return c.json(map[string]any{"object": "list", "data": data})
}

func (c *call) getModel() error {
	if err := c.model(c.args[0]); err != nil {
		return err
	}
	m := c.s.models[c.args[0]]
	return c.json(modelObject{m.ID, "model", m.Created, m.OwnedBy})
}
